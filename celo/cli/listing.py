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
) -> None:
    """Everything of a group: what works, what lost its name to another, and what is broken.

    Args:
      group: what was found.
      format_: "json", or a table.
      columns: heading -> cell; the first one is the name. What is to be said about an entry goes
        into the column "summary", which is added where there is none.
      as_json: of an entry that works.
      numeric: headings of right-aligned columns.
    """
    if format_ == "json":
        works = [as_json(entry) for entry in group.everything()]
        print_json([*works, *map(_broken_as_json, group.broken)])
        return
    headings = [*columns]
    rows = [{head: cell(entry) for head, cell in columns.items()} for entry in group.everything()]
    for row in rows[len(group.found) :]:
        row["summary"] = f"{row.get('summary', '')} {_CLASH}".strip()
    for broken in group.broken:
        said = {"summary": f"broken: {broken.reason}", "from": origin(broken)}
        rows.append({**dict.fromkeys(headings, "-"), headings[0]: broken.name, **said})
    if any("summary" in row for row in rows) and "summary" not in headings:
        headings.append("summary")
    cells = [[row.get(heading, "") for heading in headings] for row in rows]
    print_table(headings, cells, numeric=[headings.index(heading) for heading in numeric])


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
