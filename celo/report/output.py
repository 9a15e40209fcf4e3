"""Formats of a report: which there are, what a file's ending asks for, and the bytes of each."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from celo.errors import StoreError, UsageError
from celo.evaluation.cells import Cell
from celo.evaluation.summary import Summary
from celo.evaluation.tables import data_label, render
from celo.files import write_atomically
from celo.report.document import Sources, full
from celo.report.panels import Panel, learning_curves
from celo.text import jsonable

FORMATS = ("table", "markdown", "json", "csv", "latex", "html", "png", "pdf", "svg")
PICTURES = ("png", "pdf", "svg")
NO_TERMINAL = ("html", *PICTURES)
"""Formats that no terminal shows."""
_ENDINGS = {
    ".txt": "table",
    ".md": "markdown",
    ".markdown": "markdown",
    ".json": "json",
    ".csv": "csv",
    ".tex": "latex",
    ".html": "html",
    ".htm": "html",
    ".png": "png",
    ".pdf": "pdf",
    ".svg": "svg",
}

_EACH_KIND_APART = ("table", "markdown", "json", "csv")


def choose_format(format_: str | None, output: Path | None) -> str:
    """The format that was asked for, or that the file's ending asks for, or a table.

    Raises:
      UsageError: no such format, an ending that stands for none, or the two disagree.
    """
    if format_ is not None and format_ not in FORMATS:
        raise UsageError(f"there is no format {format_!r}", hint=f"known: {', '.join(FORMATS)}")
    if output is None:
        return format_ or "table"
    meant = _ENDINGS.get(output.suffix.lower())
    if format_ is None:
        if meant is None:
            raise UsageError(
                f"{output.name!r} has no ending that stands for a format",
                hint=f"known: {', '.join(_ENDINGS)}; or give --format",
            )
        return meant
    if meant in NO_TERMINAL and meant != format_:
        raise UsageError(
            f"{output.name!r} is the name of a {meant} file, and the format is {format_}",
            hint="change one of them; without --format the ending decides",
        )
    return format_


def produce(
    summary: Summary,
    cells: Iterable[Cell],
    format_: str,
    *,
    curves: bool = False,
    figures: Sequence[str] = (),
    sources: Sources | None = None,
) -> str | bytes:
    """The report in one of the `FORMATS`.

    Args:
      summary: the comparison.
      cells: those it was made of; their curves are read for pages, figures and `curves`.
      format_: one of `FORMATS`.
      curves: JSON with every number of the page; CSV with a row for each evaluated loss.
      figures: names of `celo.report.figures.FIGURES`, for pictures.
      sources: where the results lie.

    Returns:
      text without a final newline, or the bytes of a picture.

    Raises:
      UsageError: an option that the format has no use for, nothing to draw, or several kinds of
        data in a page or picture, which aggregates over all that it shows.
      CeloError: the libraries of the extra `plot` are not installed.
    """
    if curves and format_ not in ("json", "csv"):
        raise UsageError(
            f"curves are for json and csv, not for {format_}", hint="leave --curves out"
        )
    if figures and format_ not in PICTURES:
        raise UsageError(
            f"figures are for {', '.join(PICTURES)}, not for {format_}",
            hint="leave --figure out, or give --format pdf",
        )

    if summary.parts and (curves or format_ not in _EACH_KIND_APART):
        kinds = [part.kind for part in summary.parts]
        raise UsageError(
            f"these are results on {' and '.join(kinds)} data, and {format_} shows one kind",
            hint=" or ".join(f"--data-kind {kind}" for kind in kinds),
        )

    def panels() -> tuple[Panel, ...]:
        return learning_curves(summary, cells)

    def page() -> str:
        from celo.report.page import page

        return page(summary, panels(), sources)

    def picture() -> bytes:
        from celo.report.figures import save

        return save(summary, panels(), format_, figures)

    def latex() -> str:
        from celo.report.latex import latex

        return latex(summary)

    def everything() -> str:
        value = jsonable(full(summary, panels(), sources))
        return json.dumps(value, indent=2, allow_nan=False)

    if format_ == "json" and curves:
        return everything()
    if format_ == "csv" and curves:
        return curves_csv(summary, panels())
    makers: dict[str, Callable[[], str | bytes]] = {"latex": latex, "html": page}
    makers |= dict.fromkeys(PICTURES, picture)
    return makers[format_]() if format_ in makers else render(summary, format_)


def curves_csv(summary: Summary, panels: Sequence[Panel]) -> str:
    """One row for each evaluated loss of the runs that are scored, unsmoothed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    run = ("run", "task", "optimizer", "seed", "status", "split")
    writer.writerow([*run, "step", "loss", "data", "label", "not_publishable"])
    split, reasons = summary.options.split, "; ".join(summary.not_publishable)
    for panel in panels:
        data = data_label(summary.data[panel.title])
        for line in panel.lines:
            label = summary.labels[line.name]
            before = (summary.run, panel.title, line.name, line.member, line.status, split)
            for x, y in zip(line.xs.tolist(), line.ys.tolist(), strict=True):
                writer.writerow([*before, f"{x:g}", repr(y), data, label, reasons])
    return text.getvalue().rstrip("\n")


def write(path: Path, content: str | bytes) -> None:
    """Writes a report whole or not at all.

    Raises:
      StoreError: the path is a folder's, or the file cannot be written.
    """
    data = content if isinstance(content, bytes) else (content + "\n").encode()
    if path.is_dir():
        raise StoreError(f"{path} is a folder", hint="give --output the path of a file")
    try:
        write_atomically(path, lambda file: file.write(data))
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written: {error.strerror or error}",
            hint="give another path with --output",
        ) from error
