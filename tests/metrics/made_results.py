"""Results made by hand, for tests of metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from celo.evaluation.scores import final_loss_of
from celo.metrics.views import Results, RunView

STEPS = np.array([0, 10, 20, 30, 40])


def run(optimizer: str, task: str, seed: int, losses: Sequence[float] | None) -> RunView:
    """One run without smoothing; None has failed."""
    values = np.array(losses or (), np.float64)
    good = values.size > 0 and math.isfinite(values[-1])
    return RunView(
        task=task,
        optimizer=optimizer,
        seed=seed,
        horizon=40,
        steps=STEPS[: values.size],
        losses=values,
        smoothed=values,
        final_loss=float(values[-1]) if good else math.inf,
        status="done" if good else "failed" if losses is None else "diverged",
    )


def results(
    curves: Mapping[str, Mapping[str, Sequence[Sequence[float] | None]]],
    *,
    reference: str | None = "adam",
    **fields: Any,
) -> Results:
    """optimizer -> task -> one curve a seed."""
    runs = {
        (optimizer, task): {s: run(optimizer, task, s, y) for s, y in enumerate(by_seed)}
        for optimizer, by_task in curves.items()
        for task, by_seed in by_task.items()
    }
    tasks = list(dict.fromkeys(task for _, task in runs))
    scores: dict[str, dict[str, dict[int, float]]] = {}
    for (optimizer, task), by_seed in runs.items():
        anchors = runs.get((reference or "", task), {})
        for seed, one in by_seed.items():
            score = final_loss_of(one, anchors.get(seed))
            if score is not None:
                scores.setdefault(optimizer, {}).setdefault(task, {})[seed] = score
    return Results(
        **{
            "optimizers": tuple(curves),
            "tasks": tuple(tasks),
            "reference": reference,
            "horizon": 40,
            "split": "train",
            "data": dict.fromkeys(tasks, "real"),
            "runs": runs,
            "scores": {"final_loss": scores, "speedup": scores},
            "reps": 200,
            **fields,
        }
    )


def line(final: float) -> list[float]:
    """From 10 to `final` in a straight line."""
    return np.linspace(10.0, final, len(STEPS)).tolist()
