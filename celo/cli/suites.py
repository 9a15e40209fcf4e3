"""`celo suites`: named lists of tasks."""

from __future__ import annotations

from typing import Any

import click

from celo import registry
from celo.cli.listing import add_show, print_list
from celo.cli.output import format_option, print_table
from celo.records import Suite


@click.group("suites")
def command() -> None:
    """Named lists of tasks: list, show."""


@command.command("list")
@format_option("auto", "json")
def list_suites(format_: str) -> None:
    """List the installed suites."""
    columns = {
        "suite": lambda entry: entry.name,
        "tasks": lambda entry: str(len(entry.record.tasks)),
        "steps": lambda entry: str(entry.record.steps),
        "summary": lambda entry: entry.record.summary,
    }
    numeric = ("tasks", "steps")
    print_list(registry.suites(), format_, columns=columns, as_json=_as_json, numeric=numeric)


def _print_suite(entry: registry.Found[Suite]) -> None:
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


add_show(
    command,
    "suites",
    registry.suite,
    as_json=_as_json,
    as_text=_print_suite,
    help="Show one suite and its tasks.",
)
