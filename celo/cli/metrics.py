"""`celo metrics`: what optimizers can be judged by."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from celo import registry
from celo.cli.listing import add_show, origin, print_list
from celo.cli.output import format_option, print_table
from celo.records import Hyperparameter, Metric


@click.group("metrics")
def command() -> None:
    """What optimizers are judged by: list, show."""


@command.command("list")
@format_option("auto", "json")
def list_metrics(format_: str) -> None:
    """List the installed metrics; `celo report --metrics NAME,...` shows them."""
    columns = {
        "metric": lambda entry: entry.name,
        "of": lambda entry: entry.record.kind,
        "better": lambda entry: entry.record.better,
        "options": lambda entry: ", ".join(h.name for h in entry.record.options) or "-",
        "from": origin,
        "summary": lambda entry: entry.record.summary,
    }
    print_list(registry.metrics(), format_, columns=columns, as_json=_as_json)


def _print_metric(entry: registry.Found[Metric]) -> None:
    record = entry.record
    rows = [
        ["name", record.name],
        ["summary", record.summary],
        ["of", record.kind],
        ["better", record.better],
        ["depends on company", "yes" if record.depends_on_company else "no"],
        *[[f"option {h.name}", _option(h)] for h in record.options],
        ["citation", record.citation],
        ["from", origin(entry)],
        ["aliases", ", ".join(record.aliases)],
    ]
    print_table(["field", "value"], [row for row in rows if row[1]])


def _option(declared: Hyperparameter) -> str:
    choices = f" ({', '.join(declared.choices)})" if declared.choices else ""
    return f"{declared.help}{choices}; default {declared.default}"


def _as_json(entry: registry.Found[Metric]) -> dict[str, Any]:
    return {**asdict(entry.record), "origin": asdict(entry.origin), "status": "ok"}


add_show(
    command,
    "metrics",
    registry.metric,
    as_json=_as_json,
    as_text=_print_metric,
    help="Show one metric and its constants.",
)
