"""`celo tasks`: what can be trained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from celo import registry
from celo.cli.listing import add_show, origin, print_list
from celo.cli.output import format_option, print_table
from celo.records import TaskPlugin


@click.group("tasks")
def command() -> None:
    """Tasks: list, show."""


@command.command("list")
@click.option("--suite", "suite_name", metavar="SUITE", help="Only the tasks of this suite.")
@format_option("auto", "json")
def list_tasks(suite_name: str | None, format_: str) -> None:
    """List the installed tasks."""
    group = registry.tasks()
    if suite_name is not None:
        chosen = [registry.task(name) for name in registry.suite(suite_name).record.tasks]
        found = {entry.name: entry for entry in chosen}
        group = replace(group, found=found, shadowed=(), broken=())
    columns = {
        "task": lambda entry: entry.name,
        "data": lambda entry: entry.record.data_set,
        "batch": lambda entry: shown_batch(entry.record),
        "params": lambda entry: f"{entry.record.parameters:,}",
    }
    print_list(
        group,
        format_,
        columns=columns,
        as_json=_as_json,
        numeric=("batch", "params"),
        sections=lambda entry: entry.record.family,
    )


def shown_batch(record: TaskPlugin) -> str:
    """Rows of a training batch: "128", or "50x128" where inner batches are stacked."""
    return "x".join(map(str, record.rows_shape))


def _print_task(entry: registry.Found[TaskPlugin]) -> None:
    record = entry.record
    rows = [
        ["name", record.name],
        ["summary", record.summary],
        ["family", record.family],
        ["data", record.data_set],
        ["batch", f"{shown_batch(record)} rows"],
        ["parameters", f"{record.parameters:,}"],
        ["from", origin(entry)],
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
        "stack": record.stack,
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


add_show(
    command,
    "tasks",
    registry.task,
    as_json=_as_json,
    as_text=_print_task,
    help="Show one task.",
)
