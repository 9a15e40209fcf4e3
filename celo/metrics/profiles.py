"""Performance profiles of scores: which fraction of runs, or of tasks, is above tau.

Source: Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice"
(2021), and rliable, whose points and intervals these are, to the bit, in a fraction of the time.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from celo.metrics.views import Profile, Result, Results, Value

FORMS = ("run_score", "average_score")


def run_score(scores: np.ndarray, tau: np.ndarray) -> np.ndarray:
    """Fraction of all runs with a score above tau (strictly).

    Args:
      scores: float [..., runs, tasks].
      tau: float [T].

    Returns:
      float64 [..., T].
    """
    flat = scores.reshape(*scores.shape[:-2], -1)
    return _above(flat, tau)


def average_score(scores: np.ndarray, tau: np.ndarray) -> np.ndarray:
    """Fraction of tasks whose mean score is above tau (strictly); as `run_score`."""
    return _above(scores.mean(axis=-2), tau)


def _above(values: np.ndarray, tau: np.ndarray) -> np.ndarray:
    """Fraction along the last axis above each tau; one tau at a time, for memory."""
    return np.stack([(values > t).mean(axis=-1) for t in tau], axis=-1)


@lru_cache(maxsize=4)
def _draws(shape: tuple[int, int], reps: int, seed: int) -> np.ndarray:
    """Row indices [reps, runs, tasks], drawn as rliable draws them."""
    generator = np.random.RandomState(seed)
    return np.stack([generator.choice(shape[0], shape) for _ in range(reps)])


def profile_with_interval(
    scores: np.ndarray, tau: np.ndarray, form: str, *, reps: int = 2000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """A profile and its 95 % percentile interval, stratified over seeds.

    Args:
      scores: float [runs, tasks], finite.
      tau: float [T].
      form: "run_score" or "average_score".
      reps: bootstrap repetitions.
      seed: of the bootstrap.

    Returns:
      (float64 [T], float64 [2, T]: low, high).
    """
    function = {"run_score": run_score, "average_score": average_score}[form]
    scores = np.asarray(scores, np.float64)
    resampled = scores[_draws(scores.shape, reps, seed), np.arange(scores.shape[1])]
    bounds = np.percentile(function(resampled, tau), [2.5, 97.5], axis=0)
    return function(scores, tau), bounds


def profiles(
    results: Results, *, tau_max: float = 4.0, points: int = 81, of: str = "both"
) -> Result:
    """Both profiles of both Celo scores, with intervals; `area` is what lies under a curve.

    The area under the profile of runs up to tau_max is the mean of the scores cut there.

    Args:
      results: with scores.
      tau_max: largest threshold.
      points: thresholds, equally spaced from 0.
      of: "final_loss", "speedup" or "both".
    """
    tau = np.linspace(0.0, tau_max, points)
    names = ("final_loss", "speedup") if of == "both" else (of,)
    curves: list[Profile] = []
    aggregate: dict[str, dict[str, Value]] = {}
    for optimizer in results.optimizers:
        aggregate[optimizer] = {}
        for name in names:
            matrix = _matrix(results, name, optimizer)
            area = None
            if matrix is not None:
                area = float(np.clip(matrix, 0.0, tau_max).mean())
                curves += [_curve(optimizer, name, matrix, tau, f, results.reps) for f in FORMS]
            aggregate[optimizer][f"{name}_area"] = Value(area)
    return Result(aggregate, profiles=tuple(curves))


def _curve(
    optimizer: str, metric: str, scores: np.ndarray, tau: np.ndarray, form: str, reps: int
) -> Profile:
    value, (low, high) = profile_with_interval(scores, tau, form, reps=reps)
    return Profile(
        optimizer,
        metric,
        form,
        tuple(tau.tolist()),
        tuple(value.tolist()),
        tuple(low.tolist()),
        tuple(high.tolist()),
    )


def _matrix(results: Results, metric: str, optimizer: str) -> np.ndarray | None:
    """[runs, tasks] over the seeds that all the optimizer's tasks have; None without one."""
    by_task = results.scores[metric].get(optimizer, {})
    seeds = sorted(set.intersection(*({*scores} for scores in by_task.values()))) if by_task else ()
    if not seeds:
        return None
    return np.array([[scores[s] for scores in by_task.values()] for s in seeds], np.float64)
