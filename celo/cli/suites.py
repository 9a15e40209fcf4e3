"""`celo suites`: named lists of tasks."""

from __future__ import annotations

from typing import Any

import click

from celo import registry
from celo.cli.listing import add_show, print_list
from celo.cli.output import format_option, print_table
from celo.errors import UnknownNameError
from celo.records import Suite

_NEVER = "for trying things out: its results are not for publication"


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
    least = _publishable_steps(suite)
    published = f"results may be published from {least} steps on" if least else _NEVER
    click.echo(f"{suite.steps} steps; {published}\n")
    for title, text in (
        ("provenance", suite.provenance),
        *(("left out", t) for t in suite.left_out),
    ):
        if text:
            click.echo(click.wrap_text(f"{title}: {text}", 80, subsequent_indent="  "))
    click.echo()
    print_table(["task", "data", "params"], [_row(name) for name in suite.tasks], numeric=(2,))


def _row(name: str) -> list[str]:
    """A line of the table; a suite may name tasks of a package that is not installed."""
    try:
        task = registry.task(name).record
    except UnknownNameError:
        return [name, "not installed", "-"]
    return [task.name, task.data_set, f"{task.parameters:,}"]


def _publishable_steps(suite: Suite) -> int:
    return suite.steps if suite.publishable_steps is None else suite.publishable_steps


def _as_json(entry: registry.Found[Suite]) -> dict[str, Any]:
    suite = entry.record
    return {
        "name": suite.name,
        "summary": suite.summary,
        "suite_version": suite.version,
        "steps": suite.steps,
        "publishable_steps": _publishable_steps(suite),
        "tasks": list(suite.tasks),
        "provenance": suite.provenance,
        "left_out": list(suite.left_out),
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
