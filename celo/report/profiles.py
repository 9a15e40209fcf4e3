"""Performance profiles: what fraction of runs scores above tau (rliable's run-score distribution).

Agarwal et al. 2021, "Deep RL at the edge of the statistical precipice", section 4.2. Points only:
an empirical distribution is one comparison, so nothing heavy is imported for it.
"""

from __future__ import annotations

import numpy as np

from celo.evaluation.statistics import rectangle
from celo.evaluation.summary import Summary, TaskResult
from celo.metrics.views import Profile

FORM = "run_score"
TAU = tuple(round(0.05 * i, 2) for i in range(81))
"""The same for every comparison, so that company moves no figure: 0 to 4."""


def scored_metrics(summary: Summary) -> list[str]:
    """Metrics that give every run a score, in the order of the summary."""
    further = dict.fromkeys(name for result in summary.tasks for name in result.scores)
    return ["final_loss", "speedup", *further]


def score(result: TaskResult, metric: str) -> float | None:
    """The score of a run; None where it has none."""
    fields = {"final_loss": "final_loss_score", "speedup": "speedup"}
    if metric in fields:
        return getattr(result, fields[metric])
    return result.scores.get(metric)


def profiles(summary: Summary) -> tuple[Profile, ...]:
    """The summary's own profiles, and those of runs for every score that has none there.

    Runs are those that are aggregated.
    """
    found = list(summary.profiles)
    known = {profile.metric for profile in found if profile.form == FORM}
    for metric in scored_metrics(summary):
        if metric in known:
            continue
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
                found.append(Profile(entry, metric, FORM, TAU, values))
    return tuple(found)
