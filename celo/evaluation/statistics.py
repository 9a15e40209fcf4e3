"""Aggregates over tasks and seeds with 95 % intervals, computed by rliable.

rliable draws its bootstrap indices from numpy's global generator whatever `random_state` says, and
within one call every optimizer moves the draws of the next. So each call here is for one
optimizer, from its own seed, and puts the global generator back: numbers repeat, and do not depend
on which other optimizers are compared or in which order.

rliable (with pandas, scipy and arch behind it) takes seconds to import. Results are therefore kept
in a cache keyed by everything they depend on; a repeated command imports none of it.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from typing import Any, cast

import numpy as np

from celo.errors import CeloError

AGGREGATES = ("iqm", "median", "mean", "optimality_gap")
"""In the order in which `aggregate` computes them."""
REPS = 2000
SEED = 0
MIN_SEEDS = 3
"""With fewer, the bootstrap over seeds says little; results are flagged."""

Cache = MutableMapping[str, Any]


@dataclass(frozen=True)
class Estimate:
    """A point estimate with its 95 % percentile bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Matrix:
    """Scores in the form that rliable wants.

    Attributes:
      values: float64 [runs, tasks].
      seeds: of the rows.
      tasks: of the columns.
      left_out: (task, seed) pairs that exist but are not in `values`, because another task lacks
        that seed.
    """

    values: np.ndarray
    seeds: tuple[int, ...]
    tasks: tuple[str, ...]
    left_out: tuple[tuple[str, int], ...]


def rectangle(scores: Mapping[str, Mapping[int, float]]) -> Matrix | None:
    """Scores by task and seed as one matrix over the seeds that all tasks have in common.

    A stratified bootstrap needs as many runs of every task. Failures are scores (0), so what is
    left out here never ran to an end at all or has no reference; it is listed in the result.

    Args:
      scores: task -> seed -> score.

    Returns:
      None if there is no task or no common seed.
    """
    if not scores:
        return None
    common = sorted(set.intersection(*(set(by_seed) for by_seed in scores.values())))
    if not common:
        return None
    tasks = tuple(scores)
    values = np.array([[scores[task][seed] for task in tasks] for seed in common], np.float64)
    left_out = tuple(
        (task, seed) for task in tasks for seed in sorted(set(scores[task]) - {*common})
    )
    return Matrix(values, tuple(common), tasks, left_out)


def aggregate(
    values: np.ndarray, *, cache: Cache, reps: int = REPS, seed: int = SEED
) -> dict[str, Estimate]:
    """Interquartile mean, median, mean and optimality gap of one optimizer's scores.

    Args:
      values: [runs, tasks], finite.
      cache: content digest -> JSON value; read and added to.
      reps: bootstrap repetitions.
      seed: of the bootstrap.

    Returns:
      an estimate for each name of `AGGREGATES`.

    Raises:
      CeloError: rliable cannot be imported.
    """
    values = np.ascontiguousarray(values, np.float64)

    def compute() -> list[list[float]]:
        library, metrics = _rliable()

        def func(scores: np.ndarray) -> np.ndarray:
            return np.array([getattr(metrics, f"aggregate_{name}")(scores) for name in AGGREGATES])

        with _global_seed(seed):
            points, intervals = library.get_interval_estimates({"": values}, func, reps=reps)
        return np.vstack([points[""], intervals[""]]).T.tolist()

    rows = _cached(cache, AGGREGATES, (values,), reps, seed, compute)
    return {name: Estimate(*row) for name, row in zip(AGGREGATES, rows, strict=True)}


def probability_of_improvement(
    own: np.ndarray, reference: np.ndarray, *, cache: Cache, reps: int = REPS, seed: int = SEED
) -> Estimate:
    """How likely a run of ours scores above a run of the reference, averaged over tasks.

    Per task a Mann-Whitney statistic, ties counting one half. The point is rliable's; the
    interval resamples with the very draws that rliable would make and is equal to its interval, but
    takes milliseconds instead of a minute.

    Args:
      own: [runs, tasks], finite.
      reference: [reference runs, tasks], the same tasks.
      cache: content digest -> JSON value; read and added to.
      reps: bootstrap repetitions.
      seed: of the bootstrap.

    Raises:
      CeloError: rliable cannot be imported.
    """
    own = np.ascontiguousarray(own, np.float64)
    reference = np.ascontiguousarray(reference, np.float64)

    def compute() -> list[list[float]]:
        _, metrics = _rliable()
        # A task where all scores tie has no p-value (0/0), which nobody reads.
        with np.errstate(invalid="ignore", divide="ignore"):
            point = float(metrics.probability_of_improvement(own, reference))
        own_rows, reference_rows = _draws(own.shape, reference.shape, reps, seed)
        columns = np.arange(own.shape[1])
        x = own[own_rows, columns][:, :, None, :]
        y = reference[reference_rows, columns][:, None, :, :]
        wins = (x > y).sum((1, 2)) + 0.5 * (x == y).sum((1, 2))
        chances = (wins / (own.shape[0] * reference.shape[0])).mean(axis=1)
        low, high = np.percentile(chances, [2.5, 97.5]).tolist()
        return [[point, low, high]]

    names = ("probability_of_improvement",)
    (row,) = _cached(cache, names, (own, reference), reps, seed, compute)
    return Estimate(*row)


def library_version() -> str:
    """The installed rliable, without importing it.

    Raises:
      CeloError: it is not installed.
    """
    try:
        return metadata.version("rliable")
    except metadata.PackageNotFoundError as error:
        raise CeloError(
            "the statistics need rliable, which is not installed", hint="pip install rliable"
        ) from error


@lru_cache(maxsize=4)
def _draws(
    own: tuple[int, int], reference: tuple[int, int], reps: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Row indices [reps, runs, tasks] of both samples, drawn as rliable draws them."""
    generator = np.random.RandomState(seed)
    pairs = [
        (generator.choice(own[0], own), generator.choice(reference[0], reference))
        for _ in range(reps)
    ]
    return np.stack([x for x, _ in pairs]), np.stack([y for _, y in pairs])


def _cached(
    cache: Cache,
    names: tuple[str, ...],
    arrays: tuple[np.ndarray, ...],
    reps: int,
    seed: int,
    compute: Callable[[], list[list[float]]],
) -> list[list[float]]:
    """One row (value, low, high) for each name, from the cache or computed and kept there."""
    header = f"{','.join(names)} reps={reps} seed={seed} rliable={library_version()}"
    digest = hashlib.sha256(header.encode())
    for array in arrays:
        digest.update(f" {array.shape} ".encode())
        digest.update(array.astype("<f8").tobytes())
    key = digest.hexdigest()
    rows = cache.get(key)
    if not _is_rows(rows, len(names)):
        rows = cache[key] = compute()
    return cast(list[list[float]], rows)


def _is_rows(value: Any, count: int) -> bool:
    # The cache may come from a file that anybody could have touched.
    return (
        isinstance(value, list)
        and len(value) == count
        and all(isinstance(row, list) and len(row) == 3 for row in value)
        and all(isinstance(number, float) for row in value for number in row)
    )


@contextmanager
def _global_seed(seed: int) -> Iterator[None]:
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)


def _rliable() -> tuple[Any, Any]:
    try:
        with warnings.catch_warnings():
            # What pandas, scipy or arch deprecate among themselves is no business of our users.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            from rliable import library, metrics
    except Exception as error:  # arch 7 beside pandas 3 raises TypeError
        raise CeloError(
            f"rliable cannot be imported: {type(error).__name__}: {error}",
            hint="pip install rliable 'pandas<3'",
        ) from error
    return library, metrics
