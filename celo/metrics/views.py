"""What a metric sees and what it gives back; the contract of the entry points `celo.metrics`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class RunView:
    """One run that is scored: of a tuned optimizer, the selected grid point's.

    Attributes:
      task: name.
      optimizer: entry.
      seed: of the run.
      horizon: training steps that are scored.
      steps: int [K], training steps at which losses were evaluated; empty for a failed run.
      losses: float [K], losses of the scored split, as evaluated.
      smoothed: float64 [K], the same, smoothed.
      final_loss: smoothed; +inf where the run counts as lost.
      status: "done", "diverged" or "failed".
    """

    task: str
    optimizer: str
    seed: int
    horizon: int
    steps: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    final_loss: float
    status: Literal["done", "diverged", "failed"]

    @property
    def lost(self) -> bool:
        """It failed, or diverged where that is not forgiven: the worst score there is."""
        return not math.isfinite(self.final_loss)


Scores = Mapping[str, Mapping[str, Mapping[int, float]]]
"""optimizer -> task -> seed -> score."""


@dataclass(frozen=True)
class Results:
    """Everything of one comparison.

    Attributes:
      optimizers: entries, in table order.
      tasks: names, in table order.
      reference: entry that scores are relative to, or None.
      horizon: training steps that are scored.
      split: whose losses are scored: "train", "outer_valid" or "test".
      data: task -> kind of its data: "real", "partial", "synthetic" or "substitute".
      runs: (optimizer, task) -> seed -> run; what never ran is absent.
      scores: of the run metrics that were asked for, and always of "final_loss" and "speedup", by
        name.
      reps: repetitions of a bootstrap.
    """

    optimizers: Sequence[str]
    tasks: Sequence[str]
    reference: str | None
    horizon: int
    split: str
    data: Mapping[str, str]
    runs: Mapping[tuple[str, str], Mapping[int, RunView]]
    scores: Mapping[str, Scores]
    reps: int

    def common_tasks(self) -> list[str]:
        """Tasks on which every optimizer that ran at all has runs."""
        present = [o for o in self.optimizers if any((o, t) in self.runs for t in self.tasks)]
        return [t for t in self.tasks if all((o, t) in self.runs for o in present)]


@dataclass(frozen=True)
class Value:
    """A figure and its 95 % interval; None where there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Profile:
    """A performance profile: which fraction is better than tau.

    Attributes:
      optimizer: entry.
      metric: whose values it is about.
      form: "run_score", "average_score" or "steps_to_target".
      tau: thresholds.
      value: fractions at these.
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


@dataclass(frozen=True)
class Result:
    """What a comparison metric gives back.

    Attributes:
      aggregate: optimizer -> statistic -> figure; in JSON the metric is called NAME_STATISTIC.
      shown: statistics that tables show; () for all.
      tasks: (optimizer, task) -> name -> figure.
      profiles: curves.
      notes: what a reader must know, one sentence each.
    """

    aggregate: Mapping[str, Mapping[str, Value]]
    shown: tuple[str, ...] = ()
    tasks: Mapping[tuple[str, str], Mapping[str, float | None]] = field(default_factory=dict)
    profiles: tuple[Profile, ...] = ()
    notes: tuple[str, ...] = ()
