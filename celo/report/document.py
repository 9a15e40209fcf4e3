"""Everything that the page and the figures show, as JSON values.

What is computed for the page beyond the JSON of every report (means over seeds, medians of cost,
profiles, curves, failures) stands in its member `details`, so that every number on the page is in
`celo report --format json --curves` too.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from celo.evaluation.scores import ScoreOptions
from celo.evaluation.summary import STATISTICS, Aggregate, Summary, TaskResult
from celo.evaluation.tables import data_label, data_warning, remarks_of, to_json
from celo.report.panels import Panel, points
from celo.report.profiles import profiles, score, scored_metrics

COSTS = ("ms_per_step", "state_bytes_per_parameter", "peak_memory_bytes", "compile_s", "wall_s")
"""Fields of `Cost` that are shown; seconds are added up over tasks, the others' median counts."""
_SUMS = ("compile_s", "wall_s")


@dataclass(frozen=True)
class Sources:
    """Where the results lie and what was asked of them, to say how to produce them again.

    Attributes:
      runs: folders that hold the results, as they were given.
      data: what `celo eval --data` was given: "real", or how sets were replaced.
      metrics: what `celo report --metrics` was given; () for what is shown by default.
      data_kind: what `celo report --data-kind` was given, or None.
    """

    runs: tuple[str, ...] = ()
    data: str = "real"
    metrics: tuple[str, ...] = ()
    data_kind: str | None = None


@dataclass(frozen=True)
class Headline:
    """One metric over all optimizers: its IQM where there is one, else its own value.

    Attributes:
      metric: name without the statistic.
      statistic: "iqm", another of `STATISTICS`, or "" for a metric that has none.
      rows: one an optimizer, in table order.
    """

    metric: str
    statistic: str
    rows: tuple[Aggregate, ...]

    @property
    def title(self) -> str:
        statistic = {"iqm": "IQM"}.get(self.statistic, readable(self.statistic))
        return f"{readable(self.metric)} {statistic}".strip()


def readable(name: str) -> str:
    """`final_loss` as people write it."""
    return name.replace("_", " ").strip()


def split_metric(name: str, metrics: Sequence[str] = ()) -> tuple[str, str]:
    """`final_loss_iqm` as ("final_loss", "iqm"); a metric without a statistic keeps its name.

    Args:
      name: of a row of the aggregates.
      metrics: names of metrics that are known; of others the statistic is known.
    """
    for metric in sorted(metrics, key=len, reverse=True):
        if name == metric or name.startswith(f"{metric}_"):
            return metric, name[len(metric) + 1 :]
    for statistic in sorted(STATISTICS, key=len, reverse=True):
        if name.endswith(f"_{statistic}"):
            return name[: -len(statistic) - 1], statistic
    return name, ""


def headlines(summary: Summary) -> tuple[Headline, ...]:
    """What every figure is about: each metric that has any value, in the summary's order.

    Its IQM where there is one, else the first of the statistics that its tables show.
    """
    by_metric: dict[str, dict[str, list[Aggregate]]] = {}
    for row in summary.aggregate:
        metric, statistic = split_metric(row.metric, summary.metrics)
        by_metric.setdefault(metric, {}).setdefault(statistic, []).append(row)
    found = []
    for metric, by_statistic in by_metric.items():
        preferred = [s for s in ("iqm", *summary.shown.get(metric, ())) if s in by_statistic]
        statistic = (preferred or list(by_statistic))[0]
        rows = by_statistic[statistic]
        if any(row.value is not None for row in rows):
            found.append(Headline(metric, statistic, tuple(rows)))
    return tuple(found)


def warnings(summary: Summary) -> list[str]:
    """What no reader may miss, most important first: stands above everything and in every title."""
    found = []
    warning = data_warning(summary)
    if warning:
        suffix = "" if summary.kind == "real" else ": not comparable with results on the real data"
        found.append(f"{warning}{suffix}")
    loud = re.compile(r"substitute|untrained", re.IGNORECASE)
    if summary.not_publishable:
        found.append(f"not publishable: {'; '.join(summary.not_publishable)}")
    found += [note for note in remarks_of(summary) if loud.search(note)]
    if not summary.complete:
        found.append("incomplete: something that was asked for is missing or failed")
    return list(dict.fromkeys(found))


def short_warning(summary: Summary) -> str:
    """The same in a few words, for the titles of figures; "" without any."""
    parts = [data_warning(summary) or ""]
    if summary.not_publishable:
        parts.append("not publishable")
    if not summary.complete:
        parts.append("incomplete")
    return ", ".join(filter(None, parts))


def reproduction(summary: Summary, sources: Sources) -> list[str]:
    """The commands that lead to this report."""
    schedule = summary.provenance["schedule"]
    seeds = sorted({result.seed for result in summary.tasks})
    folder = sources.runs[0] if sources.runs else "celo-runs/report"
    # One that has no results was not run: to run it now would bring scores that are not here.
    reference = summary.reference if summary.reference in summary.labels else "none"
    parts: list[object] = ["celo", "eval"]
    for entry in summary.labels:
        parts += ["--optimizers", entry]
    for task in summary.data:
        parts += ["--task", task]
    parts += ["--steps", summary.steps, "--seeds", ",".join(map(str, seeds))]
    parts += ["--eval-every", schedule["eval_every"], "--eval-batches", schedule["eval_batches"]]
    parts += ["--last-eval-batches", schedule["last_eval_batches"]]
    parts += ["--reference", reference]
    if sources.data != "real":
        parts += ["--data", sources.data]
    if any(data.published_splits for data in summary.data.values()):
        parts += ["--published-splits"]
    report = ["celo", "report", *(sources.runs or (folder,)), "--reference", reference]
    report += [*_score_flags(summary.options)]
    for metrics in sources.metrics:
        report += ["--metrics", metrics]
    report += ["--data-kind", sources.data_kind] if sources.data_kind else []
    report += ["--with", "published"] if summary.published else []
    report += ["--output", "report.html"]
    return [shlex.join(map(str, [*parts, "--output", folder])), shlex.join(report)]


def _score_flags(options: ScoreOptions) -> Iterator[str]:
    yield from ("--split", options.split, "--ema", repr(options.ema))
    yield from ("--selection", options.selection)
    if options.divergence == "published":
        yield "--lenient"
    if options.horizon is not None:
        yield from ("--horizon", str(options.horizon))


def details(
    summary: Summary, panels: Sequence[Panel], sources: Sources | None = None
) -> dict[str, Any]:
    """What the page shows beyond the JSON of the summary, the points of the curves aside.

    Args:
      summary: the comparison.
      panels: its learning curves.
      sources: where the results lie.
    """
    shown = profiles(summary)
    return {
        "steps": summary.steps,
        "data_kind": summary.kind,
        "labels": dict(summary.labels),
        "data": {task: data_label(data) for task, data in summary.data.items()},
        "warnings": warnings(summary),
        "notes": remarks_of(summary),
        "headlines": [
            {"metric": h.metric, "statistic": h.statistic, "title": h.title}
            for h in headlines(summary)
        ],
        "means": _means(summary),
        "costs": _costs(summary),
        "profiles": [asdict(profile) for profile in shown],
        "failures": _failures(summary, panels),
        "reproduce": reproduction(summary, sources or Sources()),
    }


def full(
    summary: Summary, panels: Sequence[Panel], sources: Sources | None = None
) -> dict[str, Any]:
    """The JSON of the summary with every number that the page shows.

    Args:
      summary: the comparison.
      panels: its learning curves.
      sources: where the results lie.

    Returns:
      the members of `celo.evaluation.tables.to_json` and `details`, whose `curves` hold every
      evaluated loss.
    """
    further = {**details(summary, panels, sources), "curves": points(panels)}
    return {**to_json(summary), "details": further}


def _means(summary: Summary) -> list[dict[str, Any]]:
    """Means over seeds by task and optimizer."""
    metrics = scored_metrics(summary)
    groups: dict[tuple[str, str], list[TaskResult]] = {}
    for result in summary.tasks:
        groups.setdefault((result.task, result.optimizer), []).append(result)
    return [
        {
            "task": task,
            "optimizer": entry,
            "final_loss": _mean([r.final_loss for r in results]),
            "scores": {m: _mean([score(r, m) for r in results]) for m in metrics},
            "seeds": len(results),
            "diverged": sum(r.status == "diverged" for r in results),
            "failed": sum(r.status == "failed" for r in results),
        }
        for (task, entry), results in groups.items()
    ]


def _costs(summary: Summary) -> list[dict[str, Any]]:
    """By optimizer: medians over tasks, sums of seconds."""
    rows = []
    for entry in summary.labels:
        own = [cost for cost in summary.cost if cost.optimizer == entry]
        row: dict[str, Any] = {"optimizer": entry}
        for name in COSTS:
            known = [value for cost in own if (value := getattr(cost, name)) is not None]
            combine = math.fsum if name in _SUMS else median
            row[name] = combine(known) if known else None
        row["tuning_trials"] = max((cost.tuning_trials for cost in own), default=None)
        rows.append(row)
    return rows


def _failures(summary: Summary, panels: Sequence[Panel]) -> list[dict[str, Any]]:
    ends = {(p.title, line.name, line.member): line for p in panels for line in p.lines}
    found = []
    for result in summary.tasks:
        if result.status == "done":
            continue
        line = ends.get((result.task, result.optimizer, result.seed))
        found.append(
            {
                "task": result.task,
                "optimizer": result.optimizer,
                "seed": result.seed,
                "status": result.status,
                "step": line.ended if line else None,
                "reason": line.reason if line else None,
            }
        )
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None
