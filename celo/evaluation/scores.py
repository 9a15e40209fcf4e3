"""From loss curves to scores: final loss and speedup relative to a tuned reference.

Everything here is a pure function of numbers (numpy only). Rules: evaluation-metrics, section 1.
Whatever fails or diverges scores 0, the worst score there is; nothing is dropped and nothing is
NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from celo.errors import UsageError
from celo.metrics.views import RunView

Split = Literal["train", "outer_valid", "test"]
Divergence = Literal["strict", "published"]
Selection = Literal["mean", "per-seed"]


@dataclass(frozen=True)
class ScoreOptions:
    """How curves become scores.

    Attributes:
      split: which losses are scored; tuning is judged on the same ones.
      ema: decay `a` of the smoothing, 0 <= a < 1.
      divergence: "strict": a run whose last evaluated loss is not finite scores 0. "published": it
        keeps its last finite smoothed loss.
      selection: what "tuned" means: "mean" takes, per task, the grid point with the best mean final
        loss over the seeds; "per-seed" the best one per task and seed.
      horizon: an evaluated step at which runs are scored, as if they had ended there; None is
        their end. Schedules that know the length of a run do not know of this.

    Raises:
      UsageError: a value is not one of these.
    """

    split: Split = "train"
    ema: float = 0.9
    divergence: Divergence = "strict"
    selection: Selection = "mean"
    horizon: int | None = None

    def __post_init__(self) -> None:
        allowed = {"split": Split, "divergence": Divergence, "selection": Selection}
        for name, values in allowed.items():
            if getattr(self, name) not in get_args(values):
                choices = ", ".join(get_args(values))
                raise UsageError(f"{name} must be one of {choices}, got {getattr(self, name)!r}")
        if not 0.0 <= self.ema < 1.0:
            raise UsageError(
                f"ema must be at least 0 and below 1, got {self.ema}",
                hint="0 switches smoothing off, 0.9 is the default",
            )
        if self.horizon is not None and self.horizon < 1:
            raise UsageError(f"the horizon must be at least 1 step, got {self.horizon}")

    def to_json(self) -> dict[str, Any]:
        """The options as JSON values; the horizon only where runs are cut."""
        cut = {} if self.horizon is None else {"horizon": self.horizon}
        return {
            "split": self.split,
            "ema": self.ema,
            "divergence": self.divergence,
            "selection": self.selection,
            **cut,
        }


@dataclass(frozen=True)
class Curve:
    """A loss curve, smoothed and judged.

    Attributes:
      xs: float64 [K], training steps.
      smoothed: float64 [K], losses.
      diverged: the last evaluated loss is not finite.
      final_loss: +inf where the run counts as lost.
    """

    xs: np.ndarray
    smoothed: np.ndarray
    diverged: bool
    final_loss: float


LOST = Curve(np.zeros(0), np.zeros(0), diverged=True, final_loss=math.inf)
"""A run without a curve: it failed."""


def smooth(y: Any, ema: float) -> np.ndarray:
    """Exponential moving average: s_0 = y_0, s_k = ema s_{k-1} + (1 - ema) y_k.

    A NaN repeats the value before it. Infinities are not treated: nothing after one is finite.

    Args:
      y: [K] losses.
      ema: the decay.

    Returns:
      float64 [K].
    """
    smoothed: list[float] = []
    for value in np.asarray(y, np.float64).tolist():
        if smoothed:
            before = smoothed[-1]
            value = before if math.isnan(value) else ema * before + (1.0 - ema) * value
        smoothed.append(value)
    return np.array(smoothed, np.float64)


def final_loss(smoothed: np.ndarray) -> float:
    """The last finite value; +inf if there is none."""
    finite = smoothed[np.isfinite(smoothed)]
    return float(finite[-1]) if finite.size else math.inf


def judge(xs: Any, y: Any, options: ScoreOptions, *, diverged: bool = False) -> Curve:
    """Smooths a curve and says what its final loss counts as.

    Args:
      xs: [K] training steps.
      y: [K] losses at these steps.
      options: smoothing and what divergence costs.
      diverged: the run is known to have diverged whatever this split's losses say.

    Raises:
      UsageError: the horizon is no evaluated step.
    """
    xs, y = np.asarray(xs), np.asarray(y)
    if options.horizon is not None:
        if options.horizon not in xs:
            raise UsageError(
                f"the horizon {options.horizon} is no evaluated step of a run of {xs[-1]} steps",
                hint=f"choose a multiple of {xs[1] if xs.size > 1 else xs[-1]}",
            )
        kept = xs <= options.horizon
        # What happened later is another matter.
        xs, y, diverged = xs[kept], y[kept], False
    smoothed = smooth(y, options.ema)
    diverged = diverged or smoothed.size == 0 or not math.isfinite(float(y[-1]))
    lost = diverged and options.divergence == "strict"
    loss = math.inf if lost else final_loss(smoothed)
    return Curve(np.asarray(xs, np.float64), smoothed, diverged, loss)


def final_loss_score(reference: float, own: float) -> float:
    """reference / own: 1 is as good as the reference, more is better.

    0 if either final loss is not finite or the own one is not positive.
    """
    if not (math.isfinite(reference) and math.isfinite(own)) or own <= 0.0:
        return 0.0
    return reference / own


def speedup(xs: Any, smoothed: Any, target: float, horizon: float) -> float:
    """How many times sooner than `horizon` a curve reaches `target`.

    Args:
      xs: [K] training steps, increasing.
      smoothed: [K] losses.
      target: final loss of the reference.
      horizon: number of training steps of the reference.

    Returns:
      horizon / (first step with a finite loss <= target); `horizon` if that is step 0; 0 if it
      is never reached or the target is not finite. Never between 0 and 1.
    """
    losses = np.asarray(smoothed, np.float64)
    if not math.isfinite(target):
        return 0.0
    reached = np.flatnonzero(np.isfinite(losses) & (losses <= target))
    if not reached.size:
        return 0.0
    step = float(np.asarray(xs)[reached[0]])
    return horizon / step if step > 0 else float(horizon)


def final_loss_of(run: RunView, reference: RunView | None) -> float | None:
    """The metric `final_loss`: the reference's final loss over one's own; 0 for a lost run."""
    return None if reference is None else final_loss_score(reference.final_loss, run.final_loss)


def speedup_of(run: RunView, reference: RunView | None) -> float | None:
    """The metric `speedup`: how many times sooner the reference's final loss is reached."""
    if reference is None:
        return None
    if run.lost:
        return 0.0
    return speedup(run.steps, run.smoothed, reference.final_loss, float(run.horizon))


def select(final_losses: np.ndarray, selection: Selection) -> list[int]:
    """The tuned point of a grid, for every seed. One rule for all hand-crafted optimizers.

    "mean": the point with the smallest mean over the seeds, where a point that loses any seed has
    the mean +inf. Among such points fewer lost seeds win, then the smaller mean of the others.
    "per-seed": the smallest final loss of each seed. Ties go to the point that comes first.

    Args:
      final_losses: float [points, seeds], +inf where a run is lost.
      selection: the rule.

    Returns:
      one index into the points per seed (all equal for "mean").
    """
    points, seeds = final_losses.shape
    if selection == "per-seed":
        return [int(i) for i in np.argmin(final_losses, axis=0)]

    def rank(point: int) -> tuple[int, float]:
        row = final_losses[point]
        finite = row[np.isfinite(row)]
        return seeds - finite.size, float(finite.mean()) if finite.size else math.inf

    return [min(range(points), key=rank)] * seeds
