"""Paired comparisons: two optimizers on the same tasks from the same seeds.

Runs of one task and seed start from the same parameters and see the same batches, so differences
within a pair say more than two separate means. Losses of different tasks have different scales:
everything is about ratios of final losses, hence differences of their logarithms.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from celo.metrics.resampling import interval, iqm, rows
from celo.metrics.views import Result, Results, RunView, Value

Verdict = Literal["better", "worse", "unsure"]
_EXACT_UP_TO = 14
_DRAWS = 20_000


@dataclass(frozen=True)
class PairedTest:
    """One optimizer against another on one task.

    Attributes:
      ratio: geometric mean over the pairs of (loss of the other / own loss): above 1 is better;
        None without a pair of finite positive losses.
      low: lower end of its 95 % interval (Student's t); None with fewer than two such pairs, or
        where a run is lost.
      high: upper end.
      p_value: two-sided, of "the ratio is 1"; None where it cannot be tested.
    """

    ratio: float | None
    low: float | None
    high: float | None
    p_value: float | None


def paired_test(own: Sequence[float], other: Sequence[float]) -> PairedTest:
    """A paired t-test of the logarithms of final losses.

    A lost run (infinite loss) has no logarithm. Where one of the two is lost at every seed and the
    other at none there is nothing to test: the p-value is 0. Where some runs are lost, it is None.

    Args:
      own: final losses, one a seed.
      other: those of the other optimizer, same seeds.
    """
    mine, theirs = np.asarray(own, np.float64), np.asarray(other, np.float64)
    usable = np.isfinite(mine) & np.isfinite(theirs) & (mine > 0) & (theirs > 0)
    logs = np.log(theirs[usable]) - np.log(mine[usable])
    ratio = math.exp(logs.mean()) if logs.size else None
    lost_mine, lost_theirs = ~np.isfinite(mine), ~np.isfinite(theirs)
    if lost_mine.any() or lost_theirs.any():
        certain = mine.size > 1 and (
            (lost_mine.all() and not lost_theirs.any())
            or (lost_theirs.all() and not lost_mine.any())
        )
        return PairedTest(ratio, None, None, 0.0 if certain else None)
    if logs.size < 2 or logs.size < mine.size:
        return PairedTest(ratio, None, None, None)
    low, high, p_value = _student(logs)
    return PairedTest(ratio, math.exp(low), math.exp(high), p_value)


def _student(values: np.ndarray) -> tuple[float, float, float]:
    """95 % interval of the mean, and the two-sided p-value of "it is 0"."""
    from scipy.special import stdtr, stdtrit

    mean, freedom = float(values.mean()), values.size - 1
    error = float(values.std(ddof=1)) / math.sqrt(values.size)
    if error == 0.0:
        return mean, mean, 1.0 if mean == 0.0 else 0.0
    half = float(stdtrit(freedom, 0.975)) * error
    return mean - half, mean + half, float(2.0 * stdtr(freedom, -abs(mean / error)))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction: adjusted p-values in the given order.

    The chance of a single false claim among all stays below the level at which they are compared.
    What could not be tested (None) is not counted and stays None.

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure" (1979).
    """
    tested = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for place, (p, i) in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - place) * p))
        adjusted[i] = largest
    return adjusted


def verdict(own: Sequence[float], other: Sequence[float], p_adjusted: float | None) -> Verdict:
    """ "better" or "worse" where the adjusted p-value is at most 0.05, else "unsure".

    Args:
      own: final losses.
      other: those of the other optimizer.
      p_adjusted: of `paired_test`, after `holm`.
    """
    if p_adjusted is None or p_adjusted > 0.05:
        return "unsure"
    lost = [sum(not math.isfinite(loss) for loss in losses) for losses in (own, other)]
    if lost[0] != lost[1]:
        return "worse" if lost[0] > lost[1] else "better"
    ratio = paired_test(own, other).ratio
    return "unsure" if ratio is None or ratio == 1.0 else "better" if ratio > 1.0 else "worse"


def sign_flip_test(differences: Sequence[float]) -> float | None:
    """Two-sided p-value of "the mean difference is 0", by flipping signs at random.

    Exact for up to 14 differences, else from 20,000 draws of a fixed seed.

    Args:
      differences: one a task, finite.

    Returns:
      None without differences.
    """
    values = np.asarray(differences, np.float64)
    if not values.size:
        return None
    if values.size <= _EXACT_UP_TO:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=values.size)))
        extra = 0
    else:
        signs = np.random.default_rng(0).choice((-1.0, 1.0), (_DRAWS, values.size))
        extra = 1  # the observed signs are a draw too
    observed = abs(values.sum())
    # A sum that differs by rounding alone is as extreme as the observed one.
    extreme = int((np.abs(signs @ values) >= observed * (1.0 - 1e-12)).sum())
    return (extreme + extra) / (len(signs) + extra)


def iqm_difference(
    own: Mapping[str, Mapping[int, float]], other: Mapping[str, Mapping[int, float]], reps: int
) -> tuple[Value, Value, Value] | None:
    """IQM of own scores, of the other's, and their difference, over tasks and seeds of both.

    Interval: seeds resampled within every task, the same ones for both.

    Args:
      own: task -> seed -> score.
      other: the other optimizer's.
      reps: bootstrap repetitions.

    Returns:
      None without a common run.
    """
    columns: list[tuple[np.ndarray, np.ndarray]] = []
    points: tuple[list[float], list[float]] = ([], [])
    for task in own:
        seeds = sorted({*own[task]} & {*other.get(task, {})})
        if seeds:
            drawn = rows(task, len(seeds), reps)
            pair = [np.array([scores[task][s] for s in seeds]) for scores in (own, other)]
            columns.append((pair[0][drawn], pair[1][drawn]))
            for values, kept in zip(pair, points, strict=True):
                kept.extend(values.tolist())
    if not columns:
        return None
    samples = [iqm(np.concatenate([c[side] for c in columns], axis=1)) for side in (0, 1)]
    point = [float(iqm(np.array(values))) for values in points]
    return (
        Value(point[0], *interval(samples[0])),
        Value(point[1], *interval(samples[1])),
        Value(point[0] - point[1], *interval(samples[0] - samples[1])),
    )


def against_reference(results: Results) -> Result:
    """Every optimizer against the reference, paired over tasks and seeds.

    `difference`: of the final-loss IQMs, paired bootstrap. `p_value`: sign-flip test over tasks of
    the mean log ratio of final losses, corrected for the number of optimizers (Holm); a lost run
    counts as a loss of 100 times the reference's. `wins`, `losses`: tasks that are surely better or
    worse (paired t-test, corrected over the optimizer's tasks).

    Args:
      results: with a reference.
    """
    names = ("difference", "p_value", "wins", "losses")
    aggregate: dict[str, dict[str, Value]] = {
        o: {name: Value(None) for name in names} for o in results.optimizers
    }
    scores = results.scores["final_loss"]
    others = [o for o in results.optimizers if o != results.reference and scores.get(o)]
    if results.reference is None or not scores.get(results.reference):
        return Result(aggregate, notes=("paired: there is no reference to compare with",))
    raw: list[float | None] = []
    tasks: dict[tuple[str, str], dict[str, float | None]] = {}
    for optimizer in others:
        found = _against(results, optimizer, results.reference)
        difference = iqm_difference(scores[optimizer], scores[results.reference], results.reps)
        if difference is not None:
            aggregate[optimizer]["difference"] = difference[2]
        raw.append(sign_flip_test([mean for _, _, mean in found.values()]))
        adjusted = holm([test.p_value for test, _, _ in found.values()])
        verdicts = [
            verdict(*losses, p) for (_, losses, _), p in zip(found.values(), adjusted, strict=True)
        ]
        aggregate[optimizer]["wins"] = Value(float(verdicts.count("better")))
        aggregate[optimizer]["losses"] = Value(float(verdicts.count("worse")))
        for (task, (test, _, _)), p in zip(found.items(), adjusted, strict=True):
            tasks[optimizer, task] = {"ratio": test.ratio, "p_value": p}
    for optimizer, p in zip(others, holm(raw), strict=True):
        aggregate[optimizer]["p_value"] = Value(p)
    return Result(aggregate, tasks=tasks)


_Losses = tuple[list[float], list[float]]
WORST_LOG_RATIO = math.log(100.0)
"""What a lost run counts as where a mean of log ratios is needed."""


def pair_losses(
    own: Mapping[int, RunView], other: Mapping[int, RunView]
) -> tuple[list[int], list[float], list[float]]:
    """The seeds of both, and the final losses of both at these."""
    seeds = sorted({*own} & {*other})
    return seeds, [own[s].final_loss for s in seeds], [other[s].final_loss for s in seeds]


def mean_log_ratio(own: Sequence[float], other: Sequence[float]) -> float:
    """Mean over pairs of log(other / own), within +-log 100; a lost run counts as that."""
    total = 0.0
    for mine, theirs in zip(own, other, strict=True):
        lost = [not math.isfinite(loss) or loss <= 0.0 for loss in (mine, theirs)]
        if lost[0] or lost[1]:
            total += WORST_LOG_RATIO * (lost[1] - lost[0])
        else:
            log = math.log(theirs) - math.log(mine)
            total += min(max(log, -WORST_LOG_RATIO), WORST_LOG_RATIO)
    return total / len(own)


def _against(
    results: Results, optimizer: str, reference: str
) -> dict[str, tuple[PairedTest, _Losses, float]]:
    found = {}
    for task in results.tasks:
        own = results.runs.get((optimizer, task), {})
        seeds, mine, theirs = pair_losses(own, results.runs.get((reference, task), {}))
        if seeds:
            mean = mean_log_ratio(mine, theirs)
            found[task] = (paired_test(mine, theirs), (mine, theirs), mean)
    return found
