"""Statistics over tasks and seeds, of every optimizer and every metric that was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celo.evaluation import remarks, statistics
from celo.evaluation.choosing import ChosenMetric
from celo.evaluation.measuring import Measured
from celo.evaluation.selection import Place, Runs

if TYPE_CHECKING:
    from celo.evaluation.summary import TaskResult

STATISTICS = (*statistics.AGGREGATES, "probability_of_improvement")


@dataclass(frozen=True)
class Aggregate:
    """One statistic of one optimizer over all its tasks and seeds.

    Attributes:
      optimizer: entry.
      metric: name of a metric, `_` and one of `STATISTICS`, or what a comparison metric calls its
        figure.
      split: that was scored.
      value: the statistic, or None where there are no scores.
      low: lower end of its 95 % interval, or None.
      high: upper end.
      cells: runs aggregated.
      diverged: how many of them diverged.
      failed: how many of them raised.
      tuning_trials: hyperparameter settings tried per task.
      data: kind of data of the tasks that are aggregated.
    """

    optimizer: str
    metric: str
    split: str
    value: float | None
    low: float | None
    high: float | None
    cells: int
    diverged: int
    failed: int
    tuning_trials: int
    data: str = "real"


def aggregated(
    results: Mapping[str, Sequence[TaskResult]],
    measured: Measured,
    chosen: Sequence[ChosenMetric],
    runs: Mapping[Place, Runs],
    cache: statistics.Cache,
) -> tuple[list[Aggregate], list[str]]:
    """All statistics of all metrics, by optimizer and metric.

    Args:
      results: entry -> its scored runs.
      measured: what the metrics say.
      chosen: the metrics, in order.
      runs: for the number of tuning trials.
      cache: statistics by content, computed before; added to.

    Returns:
      the rows, and what a reader must know about them.
    """
    rows: list[Aggregate] = []
    notes: list[str] = []
    seen = measured.results

    def add(entry: str, own: Sequence[TaskResult], metric: str, estimate: Any) -> None:
        trials = [len(those.points) for (e, _), those in runs.items() if e == entry]
        rows.append(
            Aggregate(
                optimizer=entry,
                metric=metric,
                split=seen.split,
                value=estimate.value if estimate else None,
                low=estimate.low if estimate else None,
                high=estimate.high if estimate else None,
                cells=len(own),
                diverged=sum(r.status == "diverged" for r in own),
                failed=sum(r.status == "failed" for r in own),
                tuning_trials=max(trials, default=1),
            )
        )

    for entry, own in results.items():
        for metric in chosen:
            name = metric.name
            if metric.record.kind == "comparison":
                for figure, value in _figures_of(measured, name, entry):
                    add(entry, own, f"{name}_{figure}", value)
                continue
            matrix = statistics.rectangle(seen.scores[name].get(entry, {}))
            estimates: dict[str, statistics.Estimate] = {}
            counted = own
            if matrix is not None:
                anchor = statistics.rectangle(seen.scores[name].get(seen.reference or "", {}))
                estimates = _estimates(metric, matrix, anchor, cache, seen.reps)
                counted = [r for r in own if r.task in matrix.tasks and r.seed in matrix.seeds]
                notes.extend(remarks.about_matrix(entry, matrix))
            for statistic in STATISTICS:
                add(entry, counted, f"{name}_{statistic}", estimates.get(statistic))
    return rows, notes


def _figures_of(measured: Measured, metric: str, entry: str) -> list[tuple[str, Any]]:
    """What a comparison metric says about an entry; the same figures for every entry."""
    aggregate = measured.found[metric].aggregate
    names = dict.fromkeys(name for values in aggregate.values() for name in values)
    return [(name, aggregate.get(entry, {}).get(name)) for name in names]


def _estimates(
    metric: ChosenMetric,
    own: statistics.Matrix,
    reference: statistics.Matrix | None,
    cache: statistics.Cache,
    reps: int,
) -> dict[str, statistics.Estimate]:
    estimates = statistics.aggregate(own.values, cache=cache, reps=reps)
    if metric.record.better == "lower":
        # A gap below 1 says nothing where less is better.
        del estimates["optimality_gap"]
    if reference is not None and {*own.tasks} <= {*reference.tasks}:
        columns = [reference.tasks.index(task) for task in own.tasks]
        sign = 1.0 if metric.record.better == "higher" else -1.0
        estimates["probability_of_improvement"] = statistics.probability_of_improvement(
            sign * own.values, sign * reference.values[:, columns], cache=cache, reps=reps
        )
    return estimates
