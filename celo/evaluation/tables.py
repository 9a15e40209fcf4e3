"""A `Summary` as text: tables for people, markdown to publish, JSON and CSV for machines."""

from __future__ import annotations

import csv
import io
import json
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from statistics import median
from typing import Any

from celo.errors import UsageError
from celo.evaluation.cells import DataIdentity
from celo.evaluation.metric_tables import metric_tables, published_table
from celo.evaluation.summary import METRICS, STATISTICS, Aggregate, Summary, TaskResult
from celo.evaluation.table import Table
from celo.text import aligned, jsonable

SCHEMA = 1
"""Version of the JSON form."""
FORMATS = ("table", "markdown", "json", "csv")
WIDTH = 80
_NONE = "-"
_NAMES = {
    "iqm": "IQM",
    "optimality_gap": "optimality gap",
    "probability_of_improvement": "P(improvement)",
}


def render(summary: Summary, format_: str = "table") -> str:
    """The whole summary as text without a final newline.

    Args:
      summary: what to show.
      format_: one of `FORMATS`.

    Raises:
      UsageError: there is no such format.
    """
    renderers: dict[str, Callable[[Summary], str]] = {
        "table": _text,
        "markdown": _markdown,
        "json": lambda s: json.dumps(jsonable(to_json(s)), indent=2, allow_nan=False),
        "csv": _csv,
    }
    if format_ not in renderers:
        raise UsageError(f"there is no format {format_!r}", hint=f"known: {', '.join(FORMATS)}")
    return renderers[format_](summary)


def to_json(summary: Summary) -> dict[str, Any]:
    """The machine-readable report; lost runs have an infinite final loss (null once printed).

    Everything outside `cost` and `provenance` repeats byte for byte.
    """
    aggregate = [asdict(row) for row in summary.aggregate]
    for row in aggregate:
        del row["failed"]  # machines find failures in the status of `tasks`
    runs = [asdict(result) for result in summary.tasks]
    for run in runs:
        if not run["scores"]:
            del run["scores"]  # there only where further metrics were asked for
    return {
        "schema": SCHEMA,
        "run": summary.run,
        "complete": summary.complete,
        "not_publishable": list(summary.not_publishable),
        "aggregate": aggregate,
        "tasks": runs,
        **_asked_for(summary),
        "cost": [asdict(cost) for cost in summary.cost],
        "provenance": {**summary.provenance, "notes": list(summary.notes)},
    }


def _asked_for(summary: Summary) -> dict[str, Any]:
    """Parts that are there only where further metrics or published figures were asked for."""
    parts = {
        "figures": summary.figures,
        "profiles": summary.profiles,
        "published": summary.published,
    }
    return {name: [asdict(row) for row in rows] for name, rows in parts.items() if rows}


def tables(summary: Summary) -> list[Table]:
    """What people see: aggregates, tasks, cost, published figures; each kind of data apart."""
    if summary.parts:
        return [
            table if data_warning(part) else table.about(f"{part.kind} data")
            for part in summary.parts
            for table in tables(part)
        ]
    scored = any(r.final_loss_score is not None for r in summary.tasks)
    shown = scored and any(name in METRICS for name in summary.metrics)
    aggregates = [_headline(summary), _statistics(summary)] if shown else []
    return [
        *aggregates,
        *(replace(table, title=_title(summary, table.title)) for table in metric_tables(summary)),
        _tasks(summary, scored),
        _cost(summary),
        *published_table(summary),
    ]


def data_warning(summary: Summary) -> str | None:
    """What every title says when the results are not on all of the real data."""
    if summary.kind != "real":
        return f"{summary.kind} data"
    partial = sum(data.kind == "partial" for data in summary.data.values())
    return f"partial data on {partial} of {len(summary.data)} tasks" if partial else None


def _headline(summary: Summary) -> Table:
    by = _by_optimizer(summary)
    names = [name for name in summary.metrics if name in METRICS]
    rows = [
        (
            name,
            *(_interval(by[entry][f"{metric}_iqm"]) for metric in names),
            _failures(by[entry][f"{names[0]}_iqm"]),
        )
        for entry, name in summary.labels.items()
    ]
    return Table(
        _title(summary, f"IQM relative to {summary.reference} [95 % interval]"),
        ("optimizer", *(metric.replace("_", " ") for metric in names), "failures"),
        tuple(rows),
        tuple(range(1, len(names) + 1)),
    )


def _statistics(summary: Summary) -> Table:
    by = _by_optimizer(summary)
    names = [name for name in summary.metrics if name in METRICS]
    rows = [
        (
            name,
            _NAMES.get(statistic, statistic),
            *(_interval(by[entry][f"{metric}_{statistic}"]) for metric in names),
        )
        for entry, name in summary.labels.items()
        for statistic in STATISTICS
        if statistic != "iqm"
    ]
    return Table(
        _title(summary, f"Other statistics relative to {summary.reference}"),
        ("optimizer", "statistic", *(metric.replace("_", " ") for metric in names)),
        tuple(rows),
        tuple(range(2, len(names) + 2)),
    )


def _tasks(summary: Summary, scored: bool) -> Table:
    groups: dict[tuple[str, str], list[TaskResult]] = {}
    for result in summary.tasks:
        groups.setdefault((result.task, result.optimizer), []).append(result)
    rows = []
    for (task, entry), results in groups.items():
        scores = [_mean([r.final_loss_score for r in results]), _mean([r.speedup for r in results])]
        rows.append(
            (
                f"{task}: {data_label(summary.data[task])}",
                summary.labels[entry],
                _number(_mean([r.final_loss for r in results]), ".4g"),
                *([_number(score, ".2f") for score in scores] if scored else []),
                _settings([r.hyperparameters for r in results]),
                _failures(results),
            )
        )
    headings = ("score", "speedup") if scored else ()
    return Table(
        _title(summary, f"Final {summary.options.split} loss, mean over seeds"),
        ("task", "optimizer", "final loss", *headings, "best", "failures"),
        tuple(rows),
        (2, 3, 4) if scored else (2,),
        group=True,
    )


def _cost(summary: Summary) -> Table:
    def middle(entry: str, name: str, form: str) -> str:
        values = [getattr(c, name) for c in summary.cost if c.optimizer == entry]
        known = [value for value in values if value is not None]
        return _number(median(known) if known else None, form)

    rows = []
    for entry, name in summary.labels.items():
        own = [cost for cost in summary.cost if cost.optimizer == entry]
        walls = [cost.wall_s for cost in own if cost.wall_s is not None]
        peaks = [cost.peak_memory_bytes for cost in own if cost.peak_memory_bytes is not None]
        rows.append(
            (
                name,
                middle(entry, "ms_per_step", ".3g"),
                middle(entry, "state_bytes_per_parameter", ".3g"),
                middle(entry, "compile_s", ".3g"),
                _number(max(peaks) / 2**20 if peaks else None, ".0f"),
                str(max((cost.tuning_trials for cost in own), default=_NONE)),
                _number(sum(walls) if walls else None, ".0f"),
            )
        )
    return Table(
        _title(summary, "Cost, median over tasks"),
        ("optimizer", "ms/step", "state B/param", "compile s", "peak MiB", "trials", "total s"),
        tuple(rows),
        (1, 2, 3, 4, 5, 6),
    )


def _title(summary: Summary, text: str) -> str:
    warnings = [data_warning(summary), "not publishable" if summary.not_publishable else None]
    shown = ", ".join(filter(None, warnings))
    return f"{text} ({shown})" if shown else text


def _header(summary: Summary) -> list[str]:
    lines = []
    if summary.parts:
        kinds = " and ".join(f"{part.kind} ({len(part.data)} tasks)" for part in summary.parts)
        lines.append(f"{summary.kind.upper()} DATA: {kinds}, never aggregated together.")
    elif summary.kind != "real":
        lines.append(f"{summary.kind.upper()} DATA: not comparable with results on the real data.")
    if summary.not_publishable:
        lines.append(f"NOT PUBLISHABLE: {'; '.join(summary.not_publishable)}.")
    options, schedule = summary.options, f"{summary.steps} steps"
    if options.horizon is not None:
        schedule += f" scored at {options.horizon}"
    rule = (
        "a diverged run scores 0"
        if options.divergence == "strict"
        else "a diverged run keeps its last finite loss"
    )
    lines.append(
        f"{len(summary.labels)} optimizers, {len(summary.data)} tasks, {schedule}, "
        f"{options.split} loss, EMA {options.ema:g}; {rule}."
    )
    return lines


def _text(summary: Summary) -> str:
    parts = ["\n".join(_header(summary)), *map(drawn, tables(summary))]
    remarks = [
        textwrap.fill(f"note: {note}", WIDTH, subsequent_indent="  ", break_long_words=False)
        for note in remarks_of(summary)
    ]
    return "\n\n".join([*parts, *(["\n".join(remarks)] if remarks else [])])


def drawn(table: Table) -> str:
    """Aligned text that nothing cuts short.

    A group becomes a line above its rows: names of tasks are long.
    """
    skip, indent = (1, "  ") if table.group else (0, "")
    lines = aligned(
        table.columns[skip:],
        [row[skip:] for row in table.rows],
        numeric=[i - skip for i in table.numeric],
    )
    drawn = [indent + line for line in lines]
    title = textwrap.fill(table.title, WIDTH)
    text, group = [title, "", *drawn[:2]], None
    for row, line in zip(table.rows, drawn[2:], strict=True):
        if table.group and row[0] != group:
            group = row[0]
            text.append(group if len(group) <= WIDTH else group.replace(": ", ":\n    ", 1))
        text.append(line)
    return "\n".join(text)


def _markdown(summary: Summary) -> str:
    parts = ["\n".join(_header(summary)), *map(markdown_table, tables(summary))]
    remarks = [*remarks_of(summary), *_method(summary)]
    parts.append("\n".join(f"- {_escape(line)}" for line in remarks))
    return "\n\n".join(parts)


def markdown_table(table: Table) -> str:
    """A table under a heading."""
    marks = ["--:" if i in table.numeric else "---" for i in range(len(table.columns))]
    lines = [_markdown_row(table.columns), f"| {' | '.join(marks)} |"]
    lines.extend(_markdown_row(row) for row in table.rows)
    return "\n".join([f"### {_escape(table.title)}", "", *lines])


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_escape(cell) for cell in cells)} |"


def _escape(text: str) -> str:
    for mark in ("\\", "|", "*", "<", "`"):
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())


def _method(summary: Summary) -> list[str]:
    """What a reader of published figures must know to repeat them."""
    by_rule = {
        "mean": "the setting with the best mean final loss over the seeds, per task",
        "per-seed": "the best setting per task and seed",
    }
    lines = [f"tuned optimizers: {by_rule[summary.options.selection]}"]
    if summary.options.horizon is not None:
        lines.append(f"scored at step {summary.options.horizon}, as if runs had ended there")
    statistics = summary.provenance["statistics"]
    lines.append(
        f"intervals: {statistics['interval']}, {statistics['reps']} repetitions "
        f"({statistics['library']})"
    )
    for name, value in summary.provenance["optimizers"].items():
        if value["weights"] is not None:
            lines.append(f"{summary.labels[name]}: weights {value['weights']}")
    return [*lines, f"run {summary.run}"]


def remarks_of(summary: Summary) -> list[str]:
    """What a reader must know, one sentence each; untrained weights come first."""
    untrained = [name for name in summary.labels.values() if "random" in name]
    notes = [f"{name} has untrained weights" for name in untrained]
    return [*notes, *summary.notes]


# Not those of the first row: a half-finished run has none.
_CSV_COLUMNS = (
    *("run", *(field.name for field in fields(TaskResult) if field.name != "scores")),
    *("split", "data", "label", "not_publishable"),
)


def _csv(summary: Summary) -> str:
    rows = [
        {
            "run": summary.run,
            **result.row(),
            "hyperparameters": json.dumps(dict(result.hyperparameters), sort_keys=True),
            "split": summary.options.split,
            "data": data_label(summary.data[result.task]),
            "label": summary.labels[result.optimizer],
            "not_publishable": "; ".join(summary.not_publishable),
        }
        for result in summary.tasks
    ]
    further = dict.fromkeys(name for result in summary.tasks for name in result.scores)
    text = io.StringIO()
    writer = csv.DictWriter(text, [*_CSV_COLUMNS, *further], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().rstrip("\n")


def data_label(data: DataIdentity) -> str:
    # The label is free text; the kind is what must never be lost.
    return data.label if data.kind in data.label else f"{data.kind} {data.label}".strip()


def _by_optimizer(summary: Summary) -> Mapping[str, Mapping[str, Aggregate]]:
    found: dict[str, dict[str, Aggregate]] = {}
    for row in summary.aggregate:
        found.setdefault(row.optimizer, {})[row.metric] = row
    return found


def _failures(of: Aggregate | Sequence[TaskResult]) -> str:
    """`diverged 2/12`, `failed 1/12`, or `0/12`."""
    if isinstance(of, Aggregate):
        total, counts = of.cells, {"diverged": of.diverged, "failed": of.failed}
    else:
        total = len(of)
        counts = {name: sum(r.status == name for r in of) for name in ("diverged", "failed")}
    bad = [f"{name} {count}/{total}" for name, count in counts.items() if count]
    return ", ".join(bad) or f"0/{total}"


def _settings(chosen: Sequence[Mapping[str, Any]]) -> str:
    def text(value: Any) -> str:
        return f"{value:g}" if isinstance(value, float) else str(value)

    texts = [",".join(f"{key}={text(v)}" for key, v in sorted(c.items())) for c in chosen]
    return " ".join(dict.fromkeys(filter(None, texts))) or _NONE


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def _number(value: float | None, form: str) -> str:
    return _NONE if value is None else format(value, form)


def _interval(row: Aggregate) -> str:
    if row.value is None or row.low is None or row.high is None:
        return _NONE
    return f"{row.value:.2f} [{row.low:.2f}, {row.high:.2f}]"
