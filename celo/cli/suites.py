"""`celo suites`: named lists of tasks."""

from __future__ import annotations

from typing import Any

import click

from celo import registry
from celo.cli.names import names_of
from celo.cli.output import format_option, print_json, print_table, say
from celo.records import Suite


@click.group("suites")
def command() -> None:
    """Named lists of tasks: list, show."""


@command.command("list")
@format_option("auto", "json")
def list_suites(format_: str) -> None:
    """List the installed suites."""
    found = list(registry.suites())
    if format_ == "json":
        print_json([_as_json(entry) for entry in found])
        return
    rows = [
        [record.name, str(len(record.tasks)), str(record.steps), record.summary]
        for record in (entry.record for entry in found)
    ]
    print_table(["suite", "tasks", "steps", "summary"], rows, numeric=(1, 2))
    for broken in registry.suites().broken:
        say(f"broken: {broken.name} of {broken.origin.distribution}: {broken.reason}")


@command.command("show")
@click.argument("name", shell_complete=names_of("suites"))
@format_option("auto", "json")
def show(name: str, format_: str) -> None:
    """Show one suite and its tasks."""
    entry = registry.suite(name)
    if format_ == "json":
        print_json({"schema": 1, **_as_json(entry)})
        return
    suite = entry.record
    click.echo(f"{suite.name}, version {suite.version}: {suite.summary}")
    click.echo(f"{suite.steps} steps; {suite.provenance}\n")
    tasks = [registry.task(task).record for task in suite.tasks]
    rows = [[task.name, task.family, task.data_set, f"{task.parameters:,}"] for task in tasks]
    print_table(["task", "family", "data", "parameters"], rows, numeric=(3,))


def _as_json(entry: registry.Found[Suite]) -> dict[str, Any]:
    suite = entry.record
    return {
        "name": suite.name,
        "summary": suite.summary,
        "suite_version": suite.version,
        "steps": suite.steps,
        "tasks": list(suite.tasks),
        "provenance": suite.provenance,
        "distribution": entry.origin.distribution,
        "version": entry.origin.version,
    }
