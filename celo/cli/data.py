"""`celo data`: which data sets are here, whether they are whole, and where to get them."""

from __future__ import annotations

from typing import Any

import click

from celo import registry
from celo.cli.listing import print_list
from celo.cli.names import names_of
from celo.cli.output import format_option, print_json, print_table, say
from celo.cli.pulling import pull
from celo.cli.zoo_entries import size_text
from celo.data.hub_sources import hub_source
from celo.data.selection import DataSelection
from celo.errors import CeloError, DataMissingError
from celo.records import DataSet


@click.group("data")
def command() -> None:
    """Data sets: list, pull, verify, rm.

    Looked for in CELO_DATA_DIR, then in the cache, where `celo data pull` puts them. What is read
    is kept decoded in the cache, too.
    """


command.add_command(pull)


@command.command("list")
@format_option("auto", "json")
def list_data(format_: str) -> None:
    """List the known data sets and say which are here."""
    group = registry.data_sets()
    states = {entry.name: _state(entry.record) for entry in group.everything()}
    columns = {
        "data set": lambda entry: entry.name,
        "here": lambda entry: states[entry.name]["label"],
        "location": lambda entry: states[entry.name]["location"],
        "summary": lambda entry: entry.record.summary,
    }

    def as_json(entry: registry.Found[DataSet]) -> dict[str, Any]:
        return {**_as_json(entry.record), **states[entry.name]}

    print_list(group, format_, columns=columns, as_json=as_json)
    if format_ != "json":
        _say_what_is_wrong([*states.values()])
        size = sum(state["decoded_bytes"] for state in states.values())
        if size:
            say(f"decoded copies take {size_text(size)} of the cache; `celo data rm NAME` frees it")


@command.command("rm")
@click.argument("name", shell_complete=names_of("data_sets"))
@click.option("--decoded", is_flag=True, help="Only the decoded copies, not what was pulled.")
@format_option("text", "json")
def rm(name: str, decoded: bool, format_: str) -> None:
    """Remove NAME from the cache: decoded copies and pulled files.

    Files that you put into a data folder yourself are never touched.
    """
    from celo.data import decoded as copies
    from celo.data import pulling

    record = registry.data_set(name).record
    freed = copies.remove(record.name)
    freed += 0 if decoded else pulling.remove(record.name)
    if format_ == "json":
        print_json({"schema": 1, "name": record.name, "bytes": freed})
    else:
        say(f"{record.name}: {size_text(freed)} freed")


@command.command("verify")
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=names_of("data_sets"))
@format_option("auto", "json")
@click.pass_context
def verify(ctx: click.Context, names: tuple[str, ...], format_: str) -> None:
    """Read the NAMEd data sets (all, if none is named) anew; check every row or document.

    The exit code is 1 if a set is damaged, 3 if one that was named is missing.
    """
    records = [registry.data_set(name).record for name in names]
    records = records or [entry.record for entry in registry.data_sets().everything()]
    states = [_state(record, read=True) for record in records]
    if format_ == "json":
        print_json([{"name": r.name, **s} for r, s in zip(records, states, strict=True)])
    else:
        rows = [
            [record.name, state["label"], state["fingerprint"] or "", state["location"]]
            for record, state in zip(records, states, strict=True)
        ]
        print_table(["data set", "result", "sha256 of the content", "location"], rows)
        _say_what_is_wrong(states)
    problems = {state["status"] for state in states}
    ctx.exit(1 if "damaged" in problems else 3 if names and "missing" in problems else 0)


def _state(record: DataSet, read: bool = False) -> dict[str, Any]:
    from celo.data import decoded, sources

    state: dict[str, Any] = {"location": "", "fingerprint": None, "problem": None, "hint": None}
    state["decoded_bytes"] = sum(c.bytes for c in decoded.copies() if c.name == record.name)
    try:
        found = sources.describe(record.name, DataSelection())
        state |= {"status": "here", "label": found.label, "location": found.location}
        if found.missing is not None:
            return state | {"status": "missing", "problem": found.missing, "hint": found.hint}
        if read:
            state["fingerprint"] = sources.verify(record.name)
    except DataMissingError as error:
        problem = {"problem": error.message, "hint": error.hint}
        return state | {"status": "missing", "label": "incomplete", **problem}
    except CeloError as error:  # damaged files, or a plugin that cannot be used
        problem = {"problem": error.message, "hint": error.hint}
        return state | {"status": "damaged", "label": "damaged", **problem}
    return state


def _as_json(record: DataSet) -> dict[str, Any]:
    source = hub_source(record)
    return {
        "name": record.name,
        "summary": record.summary,
        "kind": record.kind,
        "train_rows": record.train_rows,
        "test_rows": record.test_rows,
        "image_shape": list(record.image_shape) if record.kind == "image" else None,
        "num_classes": record.num_classes or None,
        "embedded": record.embedded,
        "licence": record.licence,
        "citation": record.citation,
        "hub": source.repository if source else None,
    }


def _say_what_is_wrong(states: list[dict[str, Any]]) -> None:
    for state in states:
        if state["problem"]:
            say(f"{state['status']}: {state['problem']}")
            if state["hint"]:
                say(f"  {state['hint']}")
