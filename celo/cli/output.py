"""What commands print: data on stdout, talk on stderr.

On a terminal tables are drawn by rich; in a pipe or a file the same table is plain aligned text
that nothing cuts short.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any

import click


def format_option(*choices: str) -> Callable[[Any], Any]:
    """A `--format` option whose first choice is the default."""
    return click.option(
        "--format",
        "format_",
        type=click.Choice(choices),
        default=choices[0],
        show_default=True,
        help="How to print the result on stdout.",
    )


def say(text: str) -> None:
    """One line of talk on stderr."""
    click.echo(text, err=True)


def print_json(value: Any) -> None:
    """One valid JSON value on stdout; NaN and infinity become null."""
    click.echo(json.dumps(jsonable(value), indent=2, allow_nan=False))


def jsonable(value: Any) -> Any:
    """`value` with non-finite floats replaced by None and tuples by lists, all the way down."""
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    return value


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    title: str | None = None,
    numeric: Collection[int] = (),
) -> None:
    """A table on stdout.

    Args:
      columns: headings.
      rows: cells, already formatted.
      title: printed above it.
      numeric: indices of right-aligned columns.
    """
    if sys.stdout.isatty():
        _print_rich(columns, rows, title, numeric)
    else:
        click.echo(plain_table(columns, rows, title=title, numeric=numeric))


def plain_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    title: str | None = None,
    numeric: Collection[int] = (),
) -> str:
    """The table as aligned text, without trailing spaces or newline."""
    cells = [list(columns), *[list(row) for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    lines = [
        "  ".join(
            cell.rjust(width) if i in numeric else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*([title, ""] if title else []), *lines])


def _print_rich(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    title: str | None,
    numeric: Collection[int],
) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        right = i in numeric
        table.add_column(
            column, justify="right" if right else "left", no_wrap=right, overflow="fold"
        )
    for row in rows:
        table.add_row(*[cell.replace("[", r"\[") for cell in row])
    Console().print(table)
