"""Ranks: who is first, task by task and seed by seed."""

from __future__ import annotations

import numpy as np

from celo.metrics.resampling import interval, rows
from celo.metrics.views import Result, Results, Value


def average_ranks(losses: np.ndarray) -> np.ndarray:
    """Ranks along the last axis, 1 for the smallest; ties share the mean of their places.

    Args:
      losses: float [..., n]; lost runs are +inf and tie for the last place.

    Returns:
      float64 [..., n].
    """
    values = np.asarray(losses, np.float64)
    own, other = values[..., :, None], values[..., None, :]
    return (other < own).sum(axis=-1) + (1.0 + (other == own).sum(axis=-1)) / 2.0


def mean_rank(results: Results) -> Result:
    """Mean rank by final loss, and how often an optimizer is first.

    Over the tasks and seeds that all optimizers have in common; runs of one seed start alike, so
    ranks are taken within a seed. Intervals: seeds resampled within every task, the same for all
    optimizers.

    Source: Demsar, "Statistical Comparisons of Classifiers over Multiple Data Sets" (2006).
    """
    optimizers = [
        o for o in results.optimizers if any((o, task) in results.runs for task in results.tasks)
    ]
    ranks: dict[str, np.ndarray] = {}
    for task in results.common_tasks():
        by_seed = [results.runs[optimizer, task] for optimizer in optimizers]
        seeds = sorted(set.intersection(*({*runs} for runs in by_seed)) if by_seed else ())
        if seeds:
            losses = [[runs[seed].final_loss for runs in by_seed] for seed in seeds]
            ranks[task] = average_ranks(np.array(losses))
    empty = {o: {"mean": Value(None), "first": Value(None)} for o in results.optimizers}
    if not ranks:
        return Result(empty, notes=("rank: no task has runs of all optimizers",))
    found = {"mean": ranks, "first": {task: _firsts(r) for task, r in ranks.items()}}
    aggregate = {o: dict(values) for o, values in empty.items()}
    for name, by_task in found.items():
        point = np.concatenate(list(by_task.values())).mean(axis=0)
        drawn = [r[rows(task, len(r), results.reps)] for task, r in by_task.items()]
        samples = np.concatenate(drawn, axis=1).mean(axis=1)
        for column, optimizer in enumerate(optimizers):
            bounds = interval(samples[:, column])
            aggregate[optimizer][name] = Value(float(point[column]), *bounds)
    tasks = {
        (optimizer, task): {"mean": float(r[:, column].mean())}
        for column, optimizer in enumerate(optimizers)
        for task, r in ranks.items()
    }
    notes = []
    if len(ranks) < len(results.tasks):
        notes.append(
            f"rank: over the {len(ranks)} of {len(results.tasks)} tasks that all optimizers have"
        )
    return Result(aggregate, tasks=tasks, notes=tuple(notes))


def _firsts(ranks: np.ndarray) -> np.ndarray:
    """1 for the first of each row; shared by those that tie."""
    first = ranks == ranks.min(axis=-1, keepdims=True)
    return first / first.sum(axis=-1, keepdims=True)
