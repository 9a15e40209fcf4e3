"""What commands print: data on stdout, talk on stderr.

On a terminal tables are drawn by rich; in a pipe or a file the same table is plain aligned text
that nothing cuts short.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any

import click

from celo.text import aligned, jsonable


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
    """One line of talk on stderr; nobody listening is no reason to stop working."""
    with contextlib.suppress(OSError):
        click.echo(text, err=True)


def print_json(value: Any) -> None:
    """One valid JSON value on stdout; NaN and infinity become null."""
    click.echo(json.dumps(jsonable(value), indent=2, allow_nan=False))


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
    if sys.stdout is not None and sys.stdout.isatty():
        _print_rich(columns, rows, title, numeric)
    else:
        heading = [title, ""] if title else []
        click.echo("\n".join([*heading, *aligned(columns, rows, numeric=numeric)]))


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
