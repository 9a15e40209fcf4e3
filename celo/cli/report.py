"""`celo report`: tables and statistics of finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from celo.cli.output import say

if TYPE_CHECKING:
    from celo.evaluation.cells import Cell
    from celo.evaluation.store import Run

_DEFAULT_REFERENCE = "adam"
# As in celo.report.output, which is not imported for --help.
FORMATS = ("table", "markdown", "json", "csv", "latex", "html", "png", "pdf", "svg")
FIGURES = ("headline", "profiles", "curves")


@click.command("report")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option(
    "--split",
    type=click.Choice(["train", "outer_valid", "test"]),
    default="train",
    show_default=True,
    help="Which losses are scored (and judge the tuning).",
)
@click.option(
    "--ema", type=float, default=0.9, show_default=True, help="Smoothing of the curves; 0: none."
)
@click.option(
    "--reference",
    help="Scores are relative to this optimizer, or `none`.  [default: adam]",
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
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    help="How to write the result.  [default: what the ending of --output says, else table]",
)
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write there instead of to stdout.",
)
@click.option(
    "--figure",
    "figures",
    multiple=True,
    type=click.Choice(FIGURES),
    help="png, svg: which figure; pdf: which ones, a page each.  [default: headline; pdf: all]",
)
@click.option(
    "--curves",
    is_flag=True,
    help="csv: a row for every evaluated loss; json: with every number of the HTML page.",
)
def command(
    runs: tuple[Path, ...],
    split: Any,
    ema: float,
    reference: str | None,
    selection: Any,
    lenient: bool,
    format_: str | None,
    output: Path | None,
    figures: tuple[str, ...],
    curves: bool,
) -> int:
    """Tables, statistics, figures and a page of finished runs.

    RUN is a folder that `celo eval` wrote. The cells of several runs are merged; results that must
    not be compared (other horizon, data, splits or weights) are refused.

    \b
    Examples:
      celo report celo-runs/quickstart
      celo report runs/a runs/b --format markdown --split test
      celo report runs/a --output report.html
      celo report runs/a --output curves.pdf --figure curves
    """
    from celo.errors import StoreError
    from celo.evaluation.scores import ScoreOptions
    from celo.evaluation.store import STATISTICS_NOTE, Run
    from celo.evaluation.summary import summarize
    from celo.report.document import Sources
    from celo.report.output import choose_format, produce, write

    chosen = choose_format(format_, output)
    if output is None:
        _check_terminal(chosen)
    options = ScoreOptions(
        split=split,
        ema=ema,
        divergence="published" if lenient else "strict",
        selection=selection,
    )
    opened = [Run.open(path) for path in dict.fromkeys(runs)]
    cells, damaged = _read(opened)
    if not cells:
        names = ", ".join(str(run.path) for run in opened)
        raise StoreError(
            f"{names} holds no finished results"
            + (f", and {'; '.join(damaged[:3])}" if damaged else ""),
            hint="repeat the `celo eval` command that started it",
        )
    anchor = _reference(reference, cells, opened)
    asked = _asked(opened, cells, anchor)
    skipped = asked.pop("notes")
    cache, known = _open_cache(opened)
    summary = summarize(
        cells,
        reference=anchor,
        options=options,
        complete=not damaged and not skipped,
        notes=[*damaged, *skipped],
        cache=cache,
        **asked,
    )
    if cache.keys() != known:
        opened[0].write_note(STATISTICS_NOTE, cache)
    sources = Sources(tuple(str(run.path) for run in opened), opened[0].settings.data)
    content = produce(summary, cells, chosen, curves=curves, figures=figures, sources=sources)
    if output is not None:
        write(output, content)
        say(f"written: {output}")
    else:
        click.echo(content, nl=isinstance(content, str))
    if not summary.complete:
        say("incomplete: repeating the `celo eval` command computes what is missing")
    return 0 if summary.complete else 3


def _check_terminal(format_: str) -> None:
    """Refuses to fill a terminal with what it cannot show.

    Raises:
      UsageError: the format is no text for people and stdout is a terminal.
    """
    import sys

    from celo.errors import UsageError
    from celo.report.output import NO_TERMINAL

    if format_ in NO_TERMINAL and sys.stdout is not None and sys.stdout.isatty():
        raise UsageError(
            f"a terminal cannot show {format_}",
            hint=f"add --output report.{format_}, or send it into a file or a pipe",
        )


def _read(runs: list[Run]) -> tuple[list[Cell], list[str]]:
    """All cells, and one sentence for each file that cannot be read."""
    cells: list[Cell] = []
    damaged: list[str] = []
    for run in runs:
        found, broken = run.cells()
        cells.extend(found)
        damaged.extend(f"{file.path.name} is damaged ({file.reason})" for file in broken)
    return cells, damaged


def _reference(text: str | None, cells: list[Cell], runs: list[Run]) -> str | None:
    """The entry that scores are relative to: the one asked for, else that of the latest request.

    Raises:
      UsageError: it was asked for by name and has no results.
    """
    from celo.errors import UsageError
    from celo.evaluation.requests import read_requests

    if text is None:
        requests = [request for run in runs for request in read_requests(run)]
        return requests[-1].reference if requests else _DEFAULT_REFERENCE
    if text.strip().lower() == "none":
        return None
    entries = sorted({cell.key.entry for cell in cells})
    canonical = _canonical(text)
    if canonical not in entries:
        raise UsageError(
            f"there are no results of the reference {canonical!r} in these runs",
            hint=f"they hold: {', '.join(entries)}; `--reference none` shows losses alone",
        )
    return canonical


def _canonical(text: str) -> str:
    """The text under which results are kept; works for plugins that are gone, too."""
    from celo import registry
    from celo.errors import CeloError
    from celo.spec import check, parse

    spec = parse(text)
    try:
        return check(spec, registry.optimizer(spec.name, spec.source).record).text
    except CeloError:
        return spec.text


def _asked(runs: list[Run], cells: list[Cell], reference: str | None) -> dict[str, Any]:
    """What the runs were asked for, in that order, then whatever else they hold, by name."""
    from celo.evaluation.requests import expected_runs, read_requests

    requests = [request for run in runs for request in read_requests(run)]
    present = sorted({cell.key.entry for cell in cells})
    asked = [entry for request in requests for entry in request.entries]
    tasks = [task for request in requests for task in request.tasks]
    skipped = {task: why for request in requests for task, why in request.skipped.items()}
    ran = {cell.key.task for cell in cells}
    skipped = {task: why for task, why in skipped.items() if task not in ran}
    first = [reference] if reference in present and reference is not None else []
    return {
        "entries": list(dict.fromkeys([*first, *asked, *present])),
        "tasks": [t for t in dict.fromkeys([*tasks, *sorted(ran)]) if t not in skipped],
        "expected": expected_runs(requests) if requests else None,
        "notes": [f"incomplete: {task} was skipped: {why}" for task, why in skipped.items()],
    }


def _open_cache(runs: list[Run]) -> tuple[dict[str, Any], set[str]]:
    """Statistics computed before, of all runs, and their keys."""
    from celo.evaluation.store import STATISTICS_NOTE

    cache: dict[str, Any] = {}
    for run in runs:
        cache.update(run.read_note(STATISTICS_NOTE))
    return cache, set(cache)
