"""Statistics over a few seeds: interquartile means and what a bootstrap over seeds needs.

Draws depend on the task's name and the number of runs alone, so that every optimizer is resampled
alike (comparisons stay paired) and company, order and further tasks change nothing.
"""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np


def iqm(values: np.ndarray) -> np.ndarray:
    """Interquartile mean over the last axis, as rliable has it.

    Of n sorted values floor(n/4) are dropped at each end; no fractional weights.

    Args:
      values: float [..., n], n >= 1, without NaN.

    Returns:
      float64 [...].
    """
    ordered = np.sort(np.asarray(values, np.float64), axis=-1)
    cut = ordered.shape[-1] // 4
    return ordered[..., cut : ordered.shape[-1] - cut].mean(axis=-1)


@lru_cache(maxsize=64)
def rows(task: str, runs: int, reps: int) -> np.ndarray:
    """Resampled runs of a task: int [reps, runs], drawn with replacement."""
    generator = np.random.default_rng([zlib.crc32(task.encode()), runs])
    return generator.integers(0, runs, (reps, runs))


def interval(samples: np.ndarray) -> tuple[float, float]:
    """The central 95 % of samples along the first axis (percentile bootstrap)."""
    low, high = np.percentile(samples, [2.5, 97.5], axis=0)
    return float(low), float(high)
