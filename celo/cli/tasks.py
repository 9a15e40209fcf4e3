"""`celo tasks`: what can be trained."""

from __future__ import annotations

from typing import Any

import click

from celo import registry
from celo.cli.names import names_of
from celo.cli.output import format_option, print_json, print_table, say
from celo.records import TaskPlugin


@click.group("tasks")
def command() -> None:
    """Tasks: list, show."""


@command.command("list")
@click.option("--suite", "suite_name", metavar="SUITE", help="Only the tasks of this suite.")
@format_option("auto", "json")
def list_tasks(suite_name: str | None, format_: str) -> None:
    """List the installed tasks."""
    if suite_name is None:
        found = list(registry.tasks())
    else:
        found = [registry.task(name) for name in registry.suite(suite_name).record.tasks]
    if format_ == "json":
        print_json([_as_json(entry) for entry in found])
        return
    rows = [
        [
            record.name,
            record.family,
            record.data_set,
            str(record.batch_size),
            f"{record.parameters:,}",
        ]
        for record in (entry.record for entry in found)
    ]
    print_table(["task", "family", "data", "batch", "parameters"], rows, numeric=(3, 4))
    for broken in registry.tasks().broken:
        say(f"broken: {broken.name} of {broken.origin.distribution}: {broken.reason}")


@command.command("show")
@click.argument("name", shell_complete=names_of("tasks"))
@format_option("auto", "json")
def show(name: str, format_: str) -> None:
    """Show one task."""
    entry = registry.task(name)
    if format_ == "json":
        print_json({"schema": 1, **_as_json(entry)})
        return
    record = entry.record
    rows = [
        ["name", record.name],
        ["summary", record.summary],
        ["family", record.family],
        ["data", record.data_set],
        ["batch", f"{record.batch_size} rows"],
        ["parameters", f"{record.parameters:,}"],
        ["from", f"{entry.origin.distribution} {entry.origin.version}"],
        ["citation", record.citation],
        ["aliases", ", ".join(record.aliases)],
        ["suites", ", ".join(_suites_with(record))],
    ]
    print_table(["field", "value"], [row for row in rows if row[1]])


def _as_json(entry: registry.Found[TaskPlugin]) -> dict[str, Any]:
    record = entry.record
    return {
        "name": record.name,
        "family": record.family,
        "summary": record.summary,
        "data_set": record.data_set,
        "batch_size": record.batch_size,
        "parameters": record.parameters,
        "config": dict(record.config),
        "aliases": list(record.aliases),
        "citation": record.citation,
        "numerics_version": record.numerics_version,
        "batching": dict(record.batching),
        "suites": _suites_with(record),
        "distribution": entry.origin.distribution,
        "version": entry.origin.version,
    }


def _suites_with(record: TaskPlugin) -> list[str]:
    return [entry.name for entry in registry.suites() if record.name in entry.record.tasks]
