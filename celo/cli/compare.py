"""`celo compare`: is A better than B, where, by how much, and how sure is that?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from celo.cli.names import names_of
from celo.cli.output import format_option, say


@click.command("compare")
@click.argument("a", shell_complete=names_of("optimizers"))
@click.argument("b", shell_complete=names_of("optimizers"))
@click.option(
    "--run",
    "runs",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Run folder with the results of two optimizers; repeatable.",
)
@click.option(
    "--optimizer",
    "optimizers",
    multiple=True,
    shell_complete=names_of("optimizers"),
    help="Of two runs, compare this optimizer; repeatable.  [default: all that both have]",
)
@click.option(
    "--reference",
    default="adam",
    show_default=True,
    help="IQMs are relative to this optimizer; `none`: to B.",
)
@click.option(
    "--split",
    type=click.Choice(["train", "outer_valid", "test"]),
    default="train",
    show_default=True,
    help="Which losses are compared (and judge the tuning).",
)
@click.option(
    "--ema", type=float, default=0.9, show_default=True, help="Smoothing of the curves; 0: none."
)
@click.option(
    "--selection",
    type=click.Choice(["mean", "per-seed"]),
    default="mean",
    show_default=True,
    help="Tuned: the best grid point per task by the mean over seeds, or per task and seed.",
)
@click.option(
    "--lenient",
    is_flag=True,
    help="The published rule: a diverged run keeps its last finite loss instead of scoring 0.",
)
@click.option("--horizon", type=int, metavar="STEP", help="Compare at this evaluated step.")
@click.option("--fail-if-worse", is_flag=True, help="Exit with 1 if A is surely worse: for CI.")
@click.option(
    "--tolerance",
    type=float,
    default=0.0,
    show_default=True,
    help="With --fail-if-worse: how much lower the IQM, or a task's loss ratio, may be.",
)
@format_option("table", "markdown", "json")
def command(
    a: str,
    b: str,
    runs: tuple[Path, ...],
    optimizers: tuple[str, ...],
    reference: str,
    split: Any,
    ema: float,
    selection: Any,
    lenient: bool,
    horizon: int | None,
    fail_if_worse: bool,
    tolerance: float,
    format_: str,
) -> int:
    """Is A better than B, where, by how much, and how sure is that?

    A and B are two optimizers with results in the same runs (--run), or two run
    folders. Everything is paired over tasks and seeds. On a task, A is better or worse
    where a paired t-test of the log losses says so at 5 % for all tasks together (Holm);
    overall, where the 95 % interval of the difference of IQMs lies on one side of 0.

    \b
    Examples:
      celo compare celo adam --run celo-runs/quickstart
      celo compare runs/branch runs/main --fail-if-worse --tolerance 0.02
    """
    from celo.evaluation.scores import ScoreOptions
    from celo.evaluation.versus import compare

    comparison = compare(
        a,
        b,
        runs=runs,
        optimizers=optimizers,
        reference=None if reference.strip().lower() == "none" else reference,
        options=ScoreOptions(
            split=split,
            ema=ema,
            divergence="published" if lenient else "strict",
            selection=selection,
            horizon=horizon,
        ),
    )
    worse = comparison.worse(tolerance)
    click.echo(comparison.render(format_))
    if fail_if_worse and worse:
        say(f"celo: {'; '.join(worse)}")
        return 1
    if not comparison.complete:
        say("incomplete: not all results of both could be paired")
        return 3
    return 0
