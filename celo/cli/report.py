"""`celo report`: tables and statistics of finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from celo.cli.names import names_of
from celo.cli.output import say
from celo.cli.scoring import score_options

if TYPE_CHECKING:
    from celo.evaluation.cells import Cell
    from celo.evaluation.scores import ScoreOptions
    from celo.evaluation.store import Run

_DEFAULT_REFERENCE = "adam"
# As in celo.report.output, which is not imported for --help.
FORMATS = ("table", "markdown", "json", "csv", "latex", "html", "png", "pdf", "svg")
FIGURES = ("headline", "profiles", "curves")


@click.command("report")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option(
    "--reference",
    help="Scores are relative to this optimizer, or `none`.  [default: adam]",
)
@score_options
@click.option(
    "--data-kind",
    type=click.Choice(["real", "substitute", "synthetic"]),
    help="Only results on this kind of data.  [default: all, each kind on its own]",
)
@click.option(
    "--metrics",
    multiple=True,
    metavar="LIST",
    shell_complete=names_of("metrics"),
    help="What is shown: NAME[:key=value,...],... or `all`.  [default: final_loss,speedup]",
)
@click.option(
    "--with",
    "beside",
    type=click.Choice(["published"]),
    help="Show figures that others published beside these; they are never mixed.",
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
    reference: str | None,
    options: ScoreOptions,
    data_kind: str | None,
    metrics: tuple[str, ...],
    beside: str | None,
    format_: str | None,
    output: Path | None,
    figures: tuple[str, ...],
    curves: bool,
) -> int:
    """Tables, statistics, figures and a page of finished runs.

    RUN is a folder that `celo eval` wrote, or `celo meta-train`: then its curves are shown. The
    cells of several runs are merged; results that must not be compared (other horizon, data, splits
    or weights) are refused.

    \b
    Examples:
      celo report celo-runs/quickstart
      celo report runs/a runs/b --format markdown --split test
      celo report runs/a --metrics final_loss,velo-speedup,algoperf:r_max=4
      celo report runs/a --output report.html
      celo report runs/a --output curves.pdf --figure curves
    """
    from celo.evaluation.choosing import choose_metrics
    from celo.evaluation.published import published_results
    from celo.evaluation.reading import open_cache, open_runs
    from celo.evaluation.store import STATISTICS_NOTE
    from celo.evaluation.summary import summarize
    from celo.report.document import Sources
    from celo.report.meta_training import is_meta_training
    from celo.report.output import choose_format, produce, write

    format_ = choose_format(format_, output)
    if output is None:
        _check_terminal(format_)
    if is_meta_training(runs[0]):
        return _meta_training(runs, format_, output)
    chosen = choose_metrics(metrics)
    opened, cells, damaged = open_runs(runs)
    anchor = _reference(reference, cells, opened)
    asked = _asked(opened, cells, anchor)
    skipped = asked.pop("notes")
    if data_kind is not None:
        cells, asked = _of_kind(data_kind, cells, asked)
    else:
        _check_kinds(opened, cells)
    cache, known = open_cache(opened)
    summary = summarize(
        cells,
        reference=anchor,
        options=options,
        complete=not damaged and not skipped,
        notes=[*damaged, *skipped],
        cache=cache,
        metrics=chosen,
        published=published_results()[1] if beside else (),
        **asked,
    )
    if cache.keys() != known:
        opened[0].write_note(STATISTICS_NOTE, cache)
    shown = [run for run in opened if any(run.has(cell.key) for cell in cells)] or opened
    folders = tuple(str(run.path) for run in shown)
    sources = Sources(folders, shown[0].settings.data, metrics, data_kind)
    content = produce(summary, cells, format_, curves=curves, figures=figures, sources=sources)
    if output is not None:
        write(output, content)
        say(f"written: {output}")
    else:
        click.echo(content, nl=isinstance(content, str))
    if not summary.complete:
        say("incomplete: repeating the `celo eval` command computes what is missing")
    return 0 if summary.complete else 3


def _meta_training(runs: tuple[Path, ...], format_: str, output: Path | None) -> int:
    from celo.report.meta_training import produce_meta, read_meta_runs
    from celo.report.output import write

    content = produce_meta(read_meta_runs(runs), format_)
    if output is not None:
        write(output, content)
        say(f"written: {output}")
    else:
        click.echo(content, nl=isinstance(content, str))
    return 0


def _check_kinds(runs: list[Run], cells: list[Cell]) -> None:
    """One run may mix kinds of data; runs on different ones must not be merged by accident.

    Raises:
      UsageError: names the kinds.
    """
    from celo.errors import UsageError

    kinds = sorted({cell.key.data.comparable for cell in cells})
    if len(kinds) > 1 and len({run.settings.data for run in runs}) > 1:
        raise UsageError(
            "results of different kinds of data cannot be compared: "
            + " and ".join(f"{kind} data" for kind in kinds),
            hint="report them separately, or add --data-kind",
        )


def _of_kind(
    kind: str, cells: list[Cell], asked: dict[str, Any]
) -> tuple[list[Cell], dict[str, Any]]:
    """The cells on one kind of data, and what was asked for of their tasks.

    Raises:
      UsageError: there are none.
    """
    from celo.errors import UsageError

    found = [cell for cell in cells if cell.key.data.comparable == kind]
    if not found:
        there = sorted({cell.key.data.comparable for cell in cells})
        raise UsageError(
            f"there are no results on {kind} data in these runs",
            hint=f"they hold: {', '.join(there)}",
        )
    ran = {cell.key.task for cell in found}
    return found, {**asked, "tasks": [task for task in asked["tasks"] if task in ran]}


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


def _reference(text: str | None, cells: list[Cell], runs: list[Run]) -> str | None:
    """The entry that scores are relative to: the one asked for, else that of the latest request.

    Raises:
      UsageError: it was asked for by name and has no results.
    """
    from celo.errors import UsageError
    from celo.evaluation.reading import canonical_entry
    from celo.evaluation.requests import read_requests

    if text is None:
        requests = [request for run in runs for request in read_requests(run)]
        return requests[-1].reference if requests else _DEFAULT_REFERENCE
    if text.strip().lower() == "none":
        return None
    entries = sorted({cell.key.entry for cell in cells})
    canonical = canonical_entry(text)
    if canonical not in entries:
        raise UsageError(
            f"there are no results of the reference {canonical!r} in these runs",
            hint=f"they hold: {', '.join(entries)}; `--reference none` shows losses alone",
        )
    return canonical


def _asked(runs: list[Run], cells: list[Cell], reference: str | None) -> dict[str, Any]:
    """What the runs were asked for, in that order, then whatever else they hold, by name."""
    from celo.evaluation.requests import expected_runs, read_requests, skipped_notes

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
        "notes": [f"incomplete: {note}" for note in skipped_notes(skipped)],
        "horizons": sorted({request.publishable_steps for request in requests}),
    }
