"""AlgoPerf's performance profile and score, on training steps to a target.

Source: Dahl et al., "Benchmarking Neural Network Training Algorithms" (2023), section 4; scoring
rules of its benchmark documentation 0.6. Time is counted in training steps here, and the target of
a task is the final loss of the reference.
"""

from __future__ import annotations

import math

import numpy as np

from celo.metrics.resampling import interval, rows
from celo.metrics.views import Profile, Result, Results, RunView, Value

_PROFILE_POINTS = 61


def steps_to_target(run: RunView, target: float) -> float:
    """First evaluated step whose smoothed loss is at most the target; inf if there is none.

    A target that is met before the first step counts as met after one.
    """
    if run.lost or not math.isfinite(target):
        return math.inf
    met = np.flatnonzero(np.isfinite(run.smoothed) & (run.smoothed <= target))
    return max(float(run.steps[met[0]]), 1.0) if met.size else math.inf


def ratios(times: np.ndarray) -> np.ndarray:
    """Times over the shortest of them along the first axis; inf where none is finite.

    Args:
      times: float [optimizers, ...], inf where the target is not met.
    """
    best = times.min(axis=0)
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(best) & np.isfinite(times), times / best, np.inf)


def profile(ratio: np.ndarray, tau: np.ndarray) -> np.ndarray:
    """Fraction of tasks whose ratio is at most tau.

    Args:
      ratio: float [..., tasks].
      tau: float [T].

    Returns:
      float64 [..., T].
    """
    return (ratio[..., :, None] <= tau).mean(axis=-2)


def profile_score(ratio: np.ndarray, *, r_max: float = 4.0, points: int = 100) -> np.ndarray:
    """1/(r_max - 1) times the integral of the profile from 1 to r_max (trapezoids).

    1 is the fastest on every task, 0 never within r_max of the fastest.

    Args:
      ratio: float [..., tasks].
      r_max: largest ratio that counts.
      points: of the trapezoid rule.
    """
    tau = np.linspace(1.0, r_max, points)
    # The profile is a mean of steps, so its integral is a mean of theirs: the trapezoid in which a
    # task enters counts half.
    entered = np.searchsorted(tau, ratio, side="left")
    whole = points - 1.0 - entered + np.where(entered > 0, 0.5, 0.0)
    return np.where(entered < points, whole, 0.0).mean(axis=-1) / (points - 1.0)


def score(results: Results, *, r_max: float = 4.0, points: int = 100) -> Result:
    """Score and profile of every optimizer, and the geometric mean of its speed-ups.

    Time of an optimizer on a task: the median over seeds of the steps until it meets the
    reference's final loss of that seed. Tasks: those that all optimizers have, and the reference.
    Interval: seeds resampled within every task, the same for all optimizers. `geometric_mean` is
    that of (reference's time / own time), where a target that is not met counts as one step more
    than the horizon.

    Args:
      results: with a reference.
      r_max: largest ratio to the fastest that counts.
      points: of the trapezoid rule.
    """
    present = [o for o in results.optimizers if any((o, t) in results.runs for t in results.tasks)]
    steps = {
        task: found
        for task in results.common_tasks()
        if (found := _times(results, present, task)) is not None
    }
    names = ("score", "met", "geometric_mean")
    aggregate: dict[str, dict[str, Value]] = {
        o: {name: Value(None) for name in names} for o in results.optimizers
    }
    if not steps or results.reference not in present:
        return Result(aggregate, notes=("algoperf: no task has runs of all and of a reference",))
    times = np.stack([np.median(t, axis=1) for t in steps.values()], axis=-1)
    drawn = np.stack(
        [
            np.median(t[:, rows(task, t.shape[1], results.reps)], axis=-1)
            for task, t in steps.items()
        ],
        axis=-1,
    )
    anchor = present.index(results.reference)
    ratio = ratios(times)
    figures = _figures(times, anchor, results.horizon, r_max, points)
    samples = _figures(drawn, anchor, results.horizon, r_max, points)
    for row, optimizer in enumerate(present):
        for name in names:
            bounds = interval(samples[name][row])
            aggregate[optimizer][name] = Value(float(figures[name][row]), *bounds)
    tau = np.linspace(1.0, r_max, _PROFILE_POINTS)
    tau_values = tuple(tau.tolist())
    curves = profile(ratio, tau)
    notes = [_company(results, steps)] if len(steps) < len(results.tasks) else []
    return Result(
        aggregate,
        tasks={
            (optimizer, task): {"steps_to_target": _finite(times[row, column])}
            for row, optimizer in enumerate(present)
            for column, task in enumerate(steps)
        },
        profiles=tuple(
            Profile(o, "algoperf", "steps_to_target", tau_values, tuple(curves[row].tolist()))
            for row, o in enumerate(present)
        ),
        notes=tuple(notes),
    )


def _figures(
    times: np.ndarray, anchor: int, horizon: int, r_max: float, points: int
) -> dict[str, np.ndarray]:
    """Of times [optimizers, ..., tasks]: name -> [optimizers, ...]."""
    capped = np.where(np.isfinite(times), times, horizon + 1.0)
    return {
        "score": profile_score(ratios(times), r_max=r_max, points=points),
        "met": np.isfinite(times).mean(axis=-1),
        "geometric_mean": np.exp(np.log(capped[anchor] / capped).mean(axis=-1)),
    }


def _times(results: Results, optimizers: list[str], task: str) -> np.ndarray | None:
    """[optimizers, seeds] over the seeds that all have; None without one."""
    anchors = results.runs.get((results.reference or "", task), {})
    by_seed = [results.runs[optimizer, task] for optimizer in optimizers]
    seeds = sorted(set.intersection({*anchors}, *({*runs} for runs in by_seed)))
    if not seeds:
        return None
    return np.array(
        [[steps_to_target(runs[s], anchors[s].final_loss) for s in seeds] for runs in by_seed]
    )


def _company(results: Results, steps: dict[str, np.ndarray]) -> str:
    return f"algoperf: over the {len(steps)} of {len(results.tasks)} tasks that all optimizers have"


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
