"""The tables of the page: what stands in which cell, as text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from celo.evaluation.summary import Aggregate, Summary
from celo.evaluation.tables import data_label
from celo.report.document import readable, split_metric
from celo.report.profiles import scored_metrics

COST_TITLES = (
    ("ms_per_step", "ms/step"),
    ("state_bytes_per_parameter", "state bytes/parameter"),
    ("peak_memory_bytes", "peak memory, bytes"),
    ("compile_s", "compilation, s in all"),
    ("wall_s", "training, s in all"),
    ("tuning_trials", "tuning trials"),
)
NONE = "–"
_LOSS = "loss"
_HEAT = 5
"""Shades to each side; the darkest is a factor of four."""


@dataclass(frozen=True)
class Row:
    """One optimizer: its label, texts of its cells, and its failures."""

    label: str
    cells: tuple[str, ...]
    failures: str = ""


@dataclass(frozen=True)
class AggregateTable:
    """All statistics of one metric."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class HeatCell:
    """A figure and its shade: `b1`..`b5` better, `w1`..`w5` worse, `none`, or "" for equal."""

    text: str
    level: str
    title: str = ""


def facts(summary: Summary) -> str:
    """One sentence: how much was compared, and by which rules."""
    seeds = len({result.seed for result in summary.tasks})
    rule = (
        "a diverged run scores 0"
        if summary.options.divergence == "strict"
        else "a diverged run keeps its last finite loss"
    )
    return (
        f"{_count(len(summary.labels), 'optimizer')} on {_count(len(summary.data), 'task')}, "
        f"{_count(seeds, 'seed')}, {_count(summary.steps, 'step')}; {summary.options.split} loss, "
        f"smoothed with EMA {summary.options.ema:g}; {rule}."
    )


def profile_axes(metric: str, form: str) -> dict[str, str]:
    """Titles of a performance profile and of its axes."""
    if form == "steps_to_target":
        title, x = "steps to target", "steps relative to the fastest optimizer, τ"
        return {"metric": metric, "form": form, "title": title, "x": x, "y": "fraction of tasks"}
    of = "runs" if form == "run_score" else "tasks"
    name = readable(metric) + ("" if form == "run_score" else f", {readable(form)}")
    y = f"fraction of {of} with score > τ"
    return {
        "metric": metric,
        "form": form,
        "title": name,
        "x": f"{readable(metric)} score τ",
        "y": y,
    }


def aggregate_tables(summary: Summary) -> list[AggregateTable]:
    """One table a metric with all its statistics, in the summary's order."""
    columns: dict[str, list[str]] = {}
    values: dict[tuple[str, str, str], Aggregate] = {}
    for row in summary.aggregate:
        metric, statistic = split_metric(row.metric, summary.metrics)
        if statistic not in summary.shown.get(metric, (statistic,)) and summary.shown[metric]:
            continue
        if statistic not in columns.setdefault(metric, []):
            columns[metric].append(statistic)
        values[metric, statistic, row.optimizer] = row
    tables = []
    for metric, names in columns.items():
        own = {key: row for key, row in values.items() if key[0] == metric}
        if all(row.value is None for row in own.values()):
            continue
        rows = []
        for entry, label in summary.labels.items():
            found = [own.get((metric, statistic, entry)) for statistic in names]
            counted = next((row for row in found if row is not None), None)
            rows.append(
                Row(label, tuple(map(_interval, found)), _failures(counted) if counted else NONE)
            )
        titles = tuple(_statistic(name) for name in names)
        tables.append(AggregateTable(readable(metric), titles, tuple(rows)))
    return tables


def heat_maps(summary: Summary, means: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Figures by task (rows) and optimizer (columns): a map for each score, one for losses."""
    by = {(row["task"], row["optimizer"]): row for row in means}
    maps = []
    relative = f"1 is as good as {summary.reference}; blue is better, orange worse."
    of_best = "Compared with the best of its row: the darker the orange, the larger the loss."
    shown = [
        *(
            (metric, readable(metric), _legend(metric, relative))
            for metric in scored_metrics(summary)
        ),
        (_LOSS, f"final {summary.options.split} loss", of_best),
    ]
    for field, title, legend in shown:
        if all(_figure(row, field) is None for row in means):
            continue
        rows = []
        for task, data in summary.data.items():
            own = [by.get((task, entry)) for entry in summary.labels]
            losses = [row["final_loss"] for row in own if row and row["final_loss"] is not None]
            best = min((x for x in losses if math.isfinite(x)), default=None)
            cells = [_heat_cell(row, field, best) for row in own]
            rows.append({"task": task, "data": data_label(data), "cells": cells})
        maps.append({"field": field, "title": title, "legend": legend, "rows": rows})
    return maps


def cost_rows(summary: Summary, costs: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Costs by optimizer, in the order of `COST_TITLES`."""
    return [
        Row(
            summary.labels[row["optimizer"]],
            tuple(number(row[field]) for field, _ in COST_TITLES),
        )
        for row in costs
    ]


def failure_rows(summary: Summary, failures: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Runs that diverged or failed, as text."""
    return [
        {
            "task": row["task"],
            "label": summary.labels[row["optimizer"]],
            "seed": str(row["seed"]),
            "status": row["status"],
            "step": number(row["step"]),
            "reason": row["reason"] or NONE,
        }
        for row in failures
    ]


def provenance(summary: Summary) -> list[dict[str, Any]]:
    """What produced the results, as (name, text) rows by subject."""
    known = dict(summary.provenance)
    parts: list[tuple[str, list[tuple[str, str]]]] = []
    for subject, value in (
        ("Optimizers and their weights", known.pop("optimizers", {})),
        ("Data", known.pop("data", {})),
        ("Environment", known.pop("environment", {})),
        ("Schedule, scores and statistics", known),
    ):
        rows = [(str(name), _flat(item)) for name, item in dict(value).items()]
        parts.append((subject, rows))
    return [{"title": title, "rows": rows} for title, rows in parts if rows]


def number(value: float | int | None) -> str:
    """Four significant digits, whole numbers whole."""
    if value is None:
        return NONE
    if not math.isfinite(value):
        return "∞" if value > 0 else NONE
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", "\u202f")
    return f"{value:.4g}"


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = [(name, _flat(item)) for name, item in value.items() if item not in (None, [], {})]
        return "; ".join(f"{name}: {text}" for name, text in pairs)
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_flat, value))
    return NONE if value is None else str(value)


def _figure(row: Mapping[str, Any], field: str) -> float | None:
    return row["final_loss"] if field == _LOSS else row["scores"].get(field)


def _legend(metric: str, relative: str) -> str:
    # Of a metric that others wrote it is not known what 1 means.
    return relative if metric in ("final_loss", "speedup") else ""


def _heat_cell(row: Mapping[str, Any] | None, field: str, best: float | None) -> HeatCell:
    value = _figure(row, field) if row is not None else None
    if row is None or value is None:
        return HeatCell(NONE, "none", "no result")
    bad = [f"{row[name]} of {row['seeds']} {name}" for name in ("diverged", "failed") if row[name]]
    if field == _LOSS:
        positive = best is not None and best > 0 and value > 0
        level = _level((best or 0.0) / value if positive and math.isfinite(value) else 0.0)
    else:
        level = _level(value) if _legend(field, "known") else ""
    text = number(value) if field == _LOSS or not _legend(field, "known") else f"{value:.2f}"
    return HeatCell(text + ("†" if bad else ""), level, ", ".join(bad))


def _level(ratio: float) -> str:
    shade = _HEAT * math.log(ratio, 4) if ratio > 0 else -math.inf
    size = _HEAT if math.isinf(shade) else min(_HEAT, round(abs(shade)))
    return f"{'b' if shade > 0 else 'w'}{size}" if size else ""


def _statistic(name: str) -> str:
    names = {"iqm": "IQM", "probability_of_improvement": "P(improvement)", "": "value"}
    return names.get(name, readable(name))


def _interval(row: Aggregate | None) -> str:
    if row is None or row.value is None:
        return NONE
    if row.low is None or row.high is None:
        return f"{row.value:.3g}"
    return f"{row.value:.2f} [{row.low:.2f}, {row.high:.2f}]"


def _failures(row: Aggregate) -> str:
    counts = {"diverged": row.diverged, "failed": row.failed}
    bad = [f"{name} {count}/{row.cells}" for name, count in counts.items() if count]
    return ", ".join(bad) or f"0/{row.cells}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
