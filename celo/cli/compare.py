"""`celo compare`: is A better than B, where, by how much, and how sure is that?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from celo.cli.names import names_of
from celo.cli.output import format_option, say
from celo.cli.scoring import score_options

if TYPE_CHECKING:
    from celo.evaluation.scores import ScoreOptions


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
@score_options
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
    options: ScoreOptions,
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
    from celo.evaluation.versus import compare

    comparison = compare(
        a,
        b,
        runs=runs,
        optimizers=optimizers,
        reference=None if reference.strip().lower() == "none" else reference,
        options=options,
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
