"""Performance profiles: what fraction of runs scores above tau (rliable's run-score distribution).

Agarwal et al. 2021, "Deep RL at the edge of the statistical precipice", section 4.2. Points only:
an empirical distribution is one comparison, so nothing heavy is imported for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from celo.evaluation.statistics import rectangle
from celo.evaluation.summary import Summary, TaskResult

TAU = tuple(round(0.05 * i, 2) for i in range(81))
"""The same for every comparison, so that company moves no figure: 0 to 4."""


@dataclass(frozen=True)
class Profile:
    """Fraction of an optimizer's runs (tasks x seeds) whose score is above tau.

    Attributes:
      optimizer: entry.
      metric: whose scores.
      form: "run_score".
      tau: thresholds, increasing.
      value: fractions at these, in [0, 1].
      low: lower ends of the 95 % interval, or ().
      high: upper ends.
    """

    optimizer: str
    metric: str
    form: str
    tau: tuple[float, ...]
    value: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


def scored_metrics(summary: Summary) -> list[str]:
    """Metrics that give every run a score, in the order of the summary."""
    further = dict.fromkeys(name for result in summary.tasks for name in _further(result))
    return ["final_loss", "speedup", *further]


def score(result: TaskResult, metric: str) -> float | None:
    """The score of a run; None where it has none."""
    fields = {"final_loss": "final_loss_score", "speedup": "speedup"}
    if metric in fields:
        return getattr(result, fields[metric])
    return _further(result).get(metric)


def profiles(summary: Summary) -> tuple[Profile, ...]:
    """The profiles of all optimizers that have scores, over the runs that are aggregated."""
    found = []
    for metric in scored_metrics(summary):
        for entry in summary.labels:
            by_task: dict[str, dict[int, float]] = {}
            for result in summary.tasks:
                value = score(result, metric)
                if result.optimizer == entry and value is not None:
                    by_task.setdefault(result.task, {})[result.seed] = value
            matrix = rectangle(by_task)
            if matrix is not None:
                above = matrix.values.ravel()[:, None] > np.array(TAU)
                values = tuple(above.mean(axis=0).tolist())
                found.append(Profile(entry, metric, "run_score", TAU, values))
    return tuple(found)


def _further(result: TaskResult) -> Mapping[str, float | None]:
    """Scores of metrics beyond Celo's two, where the summary has any."""
    return getattr(result, "scores", {})
