"""What `list` and `show` of optimizers, tasks, suites and data sets have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from celo.cli.names import What, names_of
from celo.cli.output import format_option, print_json, print_table

if TYPE_CHECKING:
    from celo.registry import Broken, Found, Group

_CLASH = "(the name belongs to another package)"


def print_list(
    group: Group[Any],
    format_: str,
    *,
    columns: Mapping[str, Callable[[Found[Any]], str]],
    as_json: Callable[[Found[Any]], dict[str, Any]],
    numeric: Sequence[str] = (),
    sections: Callable[[Found[Any]], str] | None = None,
) -> None:
    """Everything of a group: what works, what lost its name to another, and what is broken.

    Args:
      group: what was found.
      format_: "json", or a table.
      columns: heading -> cell; the first one is the name. What is to be said about an entry goes
        into the column "summary", which is added where there is none.
      as_json: of an entry that works.
      numeric: headings of right-aligned columns.
      sections: title of the table that an entry belongs to, in the order of their first entries;
        None makes one table of all. What is broken is in a table of its own then.
    """
    if format_ == "json":
        works = [as_json(entry) for entry in group.everything()]
        print_json([*works, *map(_broken_as_json, group.broken)])
        return
    tables: dict[str, list[dict[str, str]]] = {}
    for i, entry in enumerate(group.everything()):
        row = {head: cell(entry) for head, cell in columns.items()}
        if i >= len(group.found):
            row["summary"] = f"{row.get('summary', '')} {_CLASH}".strip()
        tables.setdefault(sections(entry) if sections else "", []).append(row)
    for broken in group.broken:
        said = {"summary": f"broken: {broken.reason}", "from": origin(broken)}
        row = {**dict.fromkeys(columns, "-"), next(iter(columns)): broken.name, **said}
        tables.setdefault("broken" if sections else "", []).append(row)
    for i, (title, rows) in enumerate(tables.items() or [("", [])]):
        if i:
            click.echo()
        _print_section(title, [*columns], rows, numeric)


def _print_section(
    title: str, headings: list[str], rows: list[dict[str, str]], numeric: Sequence[str]
) -> None:
    if any("summary" in row for row in rows) and "summary" not in headings:
        headings.append("summary")
    cells = [[row.get(heading, "") for heading in headings] for row in rows]
    right = [headings.index(heading) for heading in numeric]
    print_table(headings, cells, title=title or None, numeric=right)


def add_show(
    command: click.Group,
    what: What,
    find: Callable[[str], Found[Any]],
    *,
    as_json: Callable[[Found[Any]], dict[str, Any]],
    as_text: Callable[[Found[Any]], None],
    help: str,
) -> None:
    """Adds `show NAME` to a command.

    Args:
      command: the group.
      what: completes NAME.
      find: the entry that NAME means.
      as_json: of the entry.
      as_text: prints the entry for people.
      help: one line about it.
    """

    @command.command("show", help=help)
    @click.argument("name", shell_complete=names_of(what))
    @format_option("auto", "json")
    def show(name: str, format_: str) -> None:
        entry = find(name)
        if format_ == "json":
            print_json({"schema": 1, **as_json(entry)})
        else:
            as_text(entry)


def origin(entry: Found[Any] | Broken) -> str:
    """The distribution of an entry and its version."""
    return f"{entry.origin.distribution} {entry.origin.version}"


def _broken_as_json(broken: Broken) -> dict[str, Any]:
    home = broken.origin
    return {
        "name": broken.name,
        "status": f"broken: {broken.reason}",
        "distribution": home.distribution,
        "version": home.version,
        "origin": asdict(home),
    }
