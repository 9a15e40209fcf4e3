"""`celo eval`: train optimizers on tasks and compare them."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import click

from celo.cli.names import names_of
from celo.cli.output import format_option, print_json, say


def _seeds(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    seeds: list[int] = []
    try:
        for piece in filter(str.strip, value.split(",")):
            first, dash, last = piece.partition("-")
            seeds += range(int(first), int(last) + 1) if dash else [int(first)]
    except ValueError:
        raise click.BadParameter(
            f"expected whole numbers such as 0,1,2 or 0-9, got {value!r}"
        ) from None
    return tuple(seeds)


@click.command("eval")
@click.option(
    "--optimizers",
    "-o",
    multiple=True,
    metavar="LIST",
    shell_complete=names_of("optimizers"),
    help="Optimizers, separated by commas: NAME[@WEIGHTS][:key=value,...]. Repeatable.",
)
@click.option(
    "--suite", "-s", shell_complete=names_of("suites"), help="Suite of tasks; sets the horizon."
)
@click.option(
    "--task",
    "-t",
    "tasks",
    multiple=True,
    shell_complete=names_of("tasks"),
    help="A task; repeatable. With --suite: only these of its tasks.",
)
@click.option("--steps", type=int, help="Training steps.  [default: the suite's, else 2000]")
@click.option(
    "--seeds",
    callback=_seeds,
    help="Seeds: `0,1,2` or `0-2`; `3` is the seed 3, not three of them.  [default: 0,1,2]",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Run folder.  [default: ./celo-runs/SUITE]",
)
@click.option(
    "--reference", help="Scores are relative to this optimizer, or `none`.  [default: adam]"
)
@click.option("--data", help="`synthetic`, or SET=SOURCE,...; results are labelled so.")
@click.option("--published-splits", is_flag=True, default=None, help="1 % splits of some sets.")
@click.option("--eval-every", type=int, help="Steps between evaluations.  [default: 10]")
@click.option("--eval-batches", type=int, help="Batches at an evaluation.  [default: 5]")
@click.option("--last-eval-batches", type=int, help="Batches at the last one.  [default: 10]")
@click.option(
    "--time-limit",
    type=float,
    metavar="SECONDS",
    help="Stop and fail a block that computes longer.",
)
@click.option(
    "--memory-limit",
    metavar="SIZE",
    help="Fail a block whose compiled loop would need more: 8G, 512M.",
)
@click.option(
    "--isolate",
    is_flag=True,
    default=None,
    help="Compute in a process of its own; implied by the limits.",
)
@click.option(
    "--workers",
    "-j",
    type=int,
    metavar="N",
    help="Processes that compute at the same time.  [default: 1]",
)
@click.option(
    "--shard",
    metavar="I/N",
    help="Compute only the I-th of N parts; others, elsewhere, compute the rest.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be computed and what that takes.")
@click.option(
    "--fresh", is_flag=True, default=None, help="Put an existing run aside and start over."
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="TOML file with the same settings; flags win.",
)
@format_option("auto", "json", "quiet")
def command(config: Path | None, format_: str, dry_run: bool, **flags: Any) -> int:
    """Train optimizers on tasks and compare them.

    Everything finished is kept in the run folder: the same command again goes on where it
    stopped, and more optimizers, tasks or seeds add to it.

    A hand-crafted optimizer by name alone (`adam`) is tuned over its grid, task by
    task; with its learning rate given (`adam:lr=1e-3`) it runs as it is.

    A block is what is computed together: an optimizer with its whole grid, a task, up
    to three seeds. A block that fails is recorded, shown, scored worst and computed
    again next time; the rest goes on. With a limit or with --isolate this holds for
    blocks that hang, crash or are killed, too: they are then computed in a process of
    their own, with the same numbers, which takes a few seconds to start. So they are
    with --workers 2 or more, several blocks at a time. --shard divides the blocks
    between commands on one shared folder, such as the tasks of an array job.

    \b
    Examples:
      celo eval --optimizers celo,adam --suite quickstart
      celo eval -o celo -o adam:lr=1e-3,b1=0.8 --task Digits_MLP_32 --seeds 0
      celo eval -o celo,adam --suite mlp-mini --workers 4 --dry-run
    """
    from celo.evaluation.config import EvalConfig, read_config

    settings = read_config(config) if config else {}
    settings |= {k: v for k, v in flags.items() if v is not None and (v != () or k == "seeds")}
    config_ = EvalConfig(**settings)
    return _foretell(config_, format_) if dry_run else _evaluate(config_, format_)


def _foretell(config: Any, format_: str) -> int:
    from celo.cli.dry_run import print_dry_run
    from celo.evaluation.plan import make_plan

    plan = make_plan(config)
    if format_ != "quiet":
        _say_weights(plan)
    print_dry_run(plan, config, format_)
    return 0


def _evaluate(config: Any, format_: str) -> int:
    from celo.cli.progress import observer_for
    from celo.errors import InterruptedRunError
    from celo.evaluation.plan import make_plan
    from celo.evaluation.result import evaluation_result
    from celo.evaluation.runner import run_plan

    signal.signal(signal.SIGTERM, _interrupt)
    plan = make_plan(config)
    quiet = format_ == "quiet"
    if not quiet:
        _announce(plan)
    with observer_for(plan, quiet=quiet) as observer:
        try:
            outcome = run_plan(
                plan,
                observer,
                fresh=config.fresh,
                limits=config.limits(),
                workers=config.workers,
            )
        except KeyboardInterrupt:
            raise InterruptedRunError(
                f"interrupted: {observer.blocks_done} of {len(plan.own)} blocks are safe in "
                f"{plan.output}",
                hint="the same command goes on from there",
            ) from None
    if plan.shard is not None:
        _conclude_shard(plan, outcome, format_)
        return 0 if outcome.complete else 3
    result = evaluation_result(plan, outcome)
    if not quiet:
        click.echo(result.render("json" if format_ == "json" else "table"))
        say(f"\nresults: {plan.output}   more: celo report {plan.output} --help")
    _say_skipped(plan)
    return 0 if outcome.complete else 3


def _conclude_shard(plan: Any, outcome: Any, format_: str) -> None:
    """Of a part there is no table: what it is compared with may be in another."""
    failed = {
        (cell.key.task, cell.key.entry, cell.key.block_seeds): cell.reason
        for cell in outcome.cells
        if cell.status == "failed"
    }
    done = len(plan.own) - len(failed)
    if format_ == "json":
        value = {
            "schema": 1,
            "shard": str(plan.shard),
            "run": str(plan.output),
            "complete": outcome.complete,
            "blocks": len(plan.own),
            "blocks_of_all_shards": len(plan.blocks),
            "not_publishable": list(plan.not_publishable),
            "failed": [
                {"task": task, "optimizer": entry, "seeds": list(seeds), "reason": reason}
                for (task, entry, seeds), reason in failed.items()
            ],
            "skipped": plan.reasons,
        }
        print_json(value)
    elif format_ != "quiet":
        say(
            f"shard {plan.shard}: {done} of its {len(plan.own)} blocks are done "
            f"({len(plan.blocks)} in all shards)\n"
            f"when all shards are: celo report {plan.output}"
        )
    _say_skipped(plan)


def _say_skipped(plan: Any) -> None:
    from celo.evaluation.requests import tasks_by_reason

    hints = {skipped.reason: skipped.hint for skipped in plan.skipped}
    for reason, tasks in tasks_by_reason(plan.reasons).items():
        say(f"skipped {', '.join(tasks)}: {reason}")
        if hints[reason]:
            say(f"  {hints[reason]}")


def _say_weights(plan: Any) -> None:
    for entry in plan.entries:
        if entry.weights is not None:
            mark = "" if entry.weights.verified else ", unverified"
            say(
                entry.weights.remark
                or f"{entry.label}: weights {entry.weights.content_hash[:12]} "
                f"from {entry.weights.source} ({entry.weights.origin}{mark})"
            )


def _announce(plan: Any) -> None:
    _say_weights(plan)
    if plan.reference_added:
        say(f"{plan.reference} is run too: scores are relative to it (--reference none: no scores)")
    if plan.not_publishable:
        say(f"not publishable: {'; '.join(plan.not_publishable)}")
    labels = {block.data.name: block.data.label for block in plan.blocks}
    for name, label in labels.items():
        if label != "real":
            say(f"data: {name} is {label}")


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt
