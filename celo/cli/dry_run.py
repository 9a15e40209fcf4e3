"""`celo eval --dry-run`: what an evaluation would compute, and about what that takes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import click

from celo.cli.output import print_json, print_table, say
from celo.evaluation.config import EvalConfig
from celo.evaluation.cost_model import MODEL
from celo.evaluation.estimates import Estimate, estimate, most_memory, seconds_left
from celo.evaluation.limits import shown_size
from celo.evaluation.plan import Plan
from celo.evaluation.requests import tasks_by_reason
from celo.evaluation.store import Run
from celo.evaluation.tables import WIDTH
from celo.text import duration

_SOURCES = {
    "recorded": "recorded by this folder's cells of the same optimizer and task",
    "scaled": "the model, scaled by this folder's recorded cells",
    "model": f"the model: {MODEL}",
}
_MARKS = {"recorded": "", "scaled": "~", "model": "~"}


def print_dry_run(plan: Plan, config: EvalConfig, format_: str) -> None:
    """Prints blocks, what is there already, time and memory; writes nothing and needs no JAX."""
    cells = []
    if not config.fresh and (plan.output / "run.json").exists():
        cells = Run.create(plan.output, plan.settings).cells()[0]
    estimates = estimate(plan, cells)
    if format_ == "json":
        print_json(_as_json(plan, config, estimates))
        return
    if format_ == "quiet":
        return
    where = "" if plan.shard is None else f", shard {plan.shard} of {len(plan.blocks)} blocks"
    title = f"{plan.output}: {len(plan.own)} blocks, {sum(e.cells for e in estimates)} runs{where}"
    columns = ["task", "there", "time left", "memory"]
    rows = [_row(plan, task.record.name, estimates) for task in plan.tasks]
    print_table(columns, [row for row in rows if row], title=title, numeric=(1, 2, 3))
    click.echo()
    for line in _conclusions(plan, config, estimates):
        click.echo(textwrap.fill(line, WIDTH, subsequent_indent="  ", break_long_words=False))
    for reason, tasks in tasks_by_reason(plan.reasons).items():
        say(f"would be skipped: {', '.join(tasks)}: {reason}")


def _row(plan: Plan, task: str, estimates: Sequence[Estimate]) -> list[str]:
    own = [one for one in estimates if one.block.task.record.name == task]
    if not own:
        return []
    left = [one for one in own if not one.present]
    # Guesses are marked: of several blocks the least sure one decides.
    time_mark = "~" if any(_MARKS[one.seconds_from] for one in left) else ""
    memory_mark = "~" if any(_MARKS[one.memory_from] for one in left) else ""
    return [
        task,
        f"{sum(one.cells for one in own if one.present)}/{sum(one.cells for one in own)}",
        time_mark + duration(seconds_left(own)) if left else "-",
        memory_mark + shown_size(most_memory(own)) if left else "-",
    ]


def _conclusions(plan: Plan, config: EvalConfig, estimates: Sequence[Estimate]) -> list[str]:
    left = [one for one in estimates if not one.present]
    lines = []
    if not left:
        lines.append("nothing is left to compute")
    else:
        lines.append(
            f"{len(left)} blocks are left: about {duration(seconds_left(left))} one at a time"
        )
        if config.workers > 1:
            best = duration(seconds_left(left, config.workers))
            memory = shown_size(most_memory(left, config.workers))
            lines.append(
                f"with {config.workers} workers at best {best}; memory of all about {memory}"
            )
        for what, sources in (
            ("time", {one.seconds_from for one in left}),
            ("memory", {one.memory_from for one in left}),
        ):
            model = "JAX, data, parameters, states and gradients; activations not counted"
            for source in sorted(sources):
                text = model if what == "memory" and source == "model" else _SOURCES[source]
                lines.append(f"{what} from {text}")
    if plan.not_publishable:
        lines.append(f"not publishable: {'; '.join(plan.not_publishable)}")
    return lines


def _as_json(plan: Plan, config: EvalConfig, estimates: Sequence[Estimate]) -> dict[str, Any]:
    return {
        "schema": 1,
        "run": str(plan.output),
        "steps": plan.settings.schedule.steps,
        "not_publishable": list(plan.not_publishable),
        "shard": None if plan.shard is None else str(plan.shard),
        "workers": config.workers,
        "optimizers": [
            {
                "optimizer": entry.text,
                "label": entry.label,
                "weights": entry.weights_id,
                "origin": entry.weights.origin if entry.weights else None,
            }
            for entry in plan.entries
        ],
        "blocks_of_all_shards": len(plan.blocks),
        "seconds_one_at_a_time": seconds_left(estimates),
        "seconds_at_best": seconds_left(estimates, config.workers),
        "memory_bytes": most_memory(estimates, config.workers),
        "model": MODEL,
        "blocks": [
            {
                "task": one.block.task.record.name,
                "optimizer": one.block.entry.text,
                "seeds": list(one.block.seeds),
                "cells": one.cells,
                "present": one.present,
                "seconds": one.seconds,
                "seconds_from": one.seconds_from,
                "memory_bytes": one.memory_bytes,
                "memory_from": one.memory_from,
            }
            for one in estimates
        ],
        "skipped": plan.reasons,
    }
