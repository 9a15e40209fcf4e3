"""Performance profiles: what fraction of runs scores above tau (rliable's run-score distribution).

Agarwal et al. 2021, "Deep RL at the edge of the statistical precipice", section 4.2. Points only:
an empirical distribution is one comparison, so nothing heavy is imported for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from celo.evaluation.statistics import rectangle
from celo.evaluation.summary import Summary

SCORES = {"final_loss": "final_loss_score", "speedup": "speedup"}
"""Metric -> the field of a `TaskResult` with a run's score."""
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


def profiles(summary: Summary) -> tuple[Profile, ...]:
    """The profiles of all optimizers that have scores, over the runs that are aggregated."""
    found = []
    for metric, field in SCORES.items():
        for entry in summary.labels:
            by_task: dict[str, dict[int, float]] = {}
            for result in summary.tasks:
                score = getattr(result, field)
                if result.optimizer == entry and score is not None:
                    by_task.setdefault(result.task, {})[result.seed] = score
            matrix = rectangle(by_task)
            if matrix is not None:
                above = matrix.values.ravel()[:, None] > np.array(TAU)
                values = tuple(above.mean(axis=0).tolist())
                found.append(Profile(entry, metric, "run_score", TAU, values))
    return tuple(found)
