"""`celo bench`: what updates and training steps cost on this machine."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from celo.cli.names import names_of
from celo.cli.output import format_option, print_json, print_table, say
from celo.errors import CeloError, UsageError

_DEFAULT = "celo,celo-phase1,velo-s,adafac-mlp-lopt,celo2-base,celo2,rnn-mlp-lopt,nn-adam,celo-adam"
_TASKS = ("ImageMLP_FashionMnist_Relu128x128", "Conv_Cifar10_32x64x64", "VIT_Cifar100_skinnydeep")
_UPDATE = {
    "optimizer": "optimizer",
    "ms": "ms",
    "x adam": "ratio_to_adam",
    "state B": "state_bytes_per_param",
    "temp": "temp_ratio",
    "of copy": "fraction_of_bandwidth",
    "compile s": "compile_s",
}
_LOOP = {
    "optimizer": "optimizer",
    "ms/step": "ms_per_step",
    "x adam": "ratio_to_adam",
    "share": "optimizer_share",
    "compile s": "compile_s",
}


def _options(command: Any) -> Any:
    options = (
        click.option(
            "--optimizers",
            "-o",
            default=_DEFAULT,
            metavar="LIST",
            shell_complete=names_of("optimizers"),
            help="Optimizers, separated by commas.  [default: the learned ones of Celo's papers]",
        ),
        click.option("--turns", default=15, show_default=True, help="Rounds of each measurement."),
        click.option(
            "--against",
            type=click.Path(path_type=Path),
            help="An earlier --format json: leave with 1 if something is slower beyond noise.",
        ),
        click.option(
            "--tolerance", default=0.1, show_default=True, help="Relative change to let pass."
        ),
        click.option(
            "--trace", type=click.Path(path_type=Path), help="Folder for a profile of it all."
        ),
        format_option("auto", "json"),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group("bench")
def command() -> None:
    """What an optimizer costs: one update, one training step.

    Everything is measured by turns in one process, as a ratio to jitted `optax.adam`:
    medians, with quartiles in the JSON. Leave the machine alone meanwhile.

    Of updates: state in bytes a parameter, temporary memory over that of the
    parameters, and what an update cannot but move over what a copy moves meanwhile.
    """


@command.command("update")
@_options
@click.option("--params", type=int, help="Parameters of an MLP of eight equal layers.")
@click.option("--task", shell_complete=names_of("tasks"), help="The parameters of this task.")
def bench_update(params: int | None, task: str | None, **settings: Any) -> int:
    """One update, on an MLP 3072-1024(x7)-10 of 9.45 M parameters by default."""
    if params is not None and (task or params < 1):
        raise UsageError(
            "--params is a number of parameters above 0, or --task names where they come from",
            hint="for example: celo bench update --params 1000000",
        )
    from celo.bench.trees import MLP, mlp_parameters, widths_for
    from celo.bench.update import measure_updates

    def measured(optimizers: list[str], turns: int) -> Iterator[Any]:
        tree = (
            _task_parameters(task)
            if task
            else mlp_parameters(widths_for(params) if params else MLP)
        )
        return measure_updates(optimizers, tree, turns=turns)

    return _run(measured, _UPDATE, **settings)


@command.command("loop")
@_options
@click.option(
    "--task", "-t", "tasks", multiple=True, shell_complete=names_of("tasks"), help="Repeatable."
)
@click.option("--steps", default=10, show_default=True, help="Training steps of a turn.")
@click.option("--data", default="real", help="`synthetic`, or SET=SOURCE,...  [default: real]")
def bench_loop(tasks: tuple[str, ...], steps: int, data: str, **settings: Any) -> int:
    """Training steps of whole tasks; the optimizer's share of them."""
    if steps < 1:
        raise UsageError("--steps is a number of training steps above 0", hint="try --steps 10")
    from celo.bench.training import measure_training

    def measured(optimizers: list[str], turns: int) -> Iterator[Any]:
        for task in tasks or _TASKS:
            yield from measure_training(optimizers, task, data=data, steps=steps, turns=turns)

    return _run(measured, _LOOP, **settings)


def _run(
    measured: Any,
    columns: dict[str, str],
    *,
    optimizers: str,
    turns: int,
    against: Path | None,
    tolerance: float,
    trace: Path | None,
    format_: str,
) -> int:
    from celo.bench.comparison import compare, read_rows
    from celo.bench.machine import describe, measure_bounds
    from celo.spec import parse_list

    if turns < 1 or tolerance < 0:
        raise UsageError("--turns is at least 1 and --tolerance at least 0")
    before = read_rows(against) if against else []
    texts = [spec.text for spec in parse_list([optimizers])]
    with _traced(trace):
        bounds = measure_bounds(turns)
        say(
            f"{describe()}: copies {bounds.copy_gb_s:.1f} GB/s, multiplies "
            f"{bounds.matmul_gflop_s:.0f} GFLOP/s"
        )
        rows = list(_heard(measured(texts, turns)))
    changes = compare(rows, before, tolerance)
    if format_ == "json":
        machine = {"machine": describe(), **dataclasses.asdict(bounds)}
        print_json({"schema": 1, "machine": machine, "rows": rows})
    else:
        _print(rows, columns)
    for change in changes:
        if change.slower or change.faster:
            word = "slower" if change.slower else "faster"
            say(f"{word}: {change.name}, {change.before:.2f} -> {change.now:.2f} x adam")
    slower = [change.name for change in changes if change.slower]
    if slower:
        raise CeloError(
            f"{len(slower)} of {len(changes)} measurements are slower than in {against}",
            hint="they are listed above; --tolerance says how much may pass",
        )
    return 0


def _heard(rows: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for row in rows:
        say(f"  {row.optimizer}: {row.ratio_to_adam:.2f} x adam")
        yield dataclasses.asdict(row)


def _print(rows: list[dict[str, Any]], columns: dict[str, str]) -> None:
    tasks = dict.fromkeys(row.get("task") for row in rows)
    for task in tasks:
        of_task = [row for row in rows if row.get("task") == task]
        cells = [[_cell(row[field]) for field in columns.values()] for row in of_task]
        title = f"{task or 'update'}, {of_task[0]['params']:,} parameters"
        print_table(list(columns), cells, title=title, numeric=range(1, len(columns)))
        click.echo()


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _traced(folder: Path | None) -> Any:
    if folder is None:
        return contextlib.nullcontext()
    import jax

    return jax.profiler.trace(str(folder))


def _task_parameters(name: str) -> Any:
    import jax

    from celo.api import load_task

    task = load_task(name, data="synthetic")
    return jax.jit(task.init_with_state)(jax.random.PRNGKey(0))[0]
