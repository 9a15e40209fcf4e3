"""Programs that take turns, so that whatever else the machine does hits all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Turn = Callable[[], object]
"""Does its work and returns when it is done (`jax.block_until_ready`)."""


@dataclass(frozen=True)
class Spread:
    """A median and the quartiles around it.

    Attributes:
      median: of the turns.
      low: lower quartile.
      high: upper quartile.
    """

    median: float
    low: float
    high: float


def take_turns(programs: Sequence[Turn], turns: int) -> np.ndarray:
    """Runs the programs one after the other, many times over.

    A first round, not counted, pays for whatever is paid only once. The order changes from round to
    round, since what ran before leaves its marks on caches and clocks: within twice as many rounds
    as programs every program has every place equally often, and neighbours swap their order.

    Args:
      programs: each is called once a turn.
      turns: rounds that count.

    Returns:
      Seconds, float64 [turns, programs].
    """
    seconds = np.empty((turns + 1, len(programs)))
    for turn in range(turns + 1):
        for i in _order(turn, len(programs)):
            began = time.perf_counter()
            programs[i]()
            seconds[turn, i] = time.perf_counter() - began
    return seconds[1:]


def _order(turn: int, count: int) -> list[int]:
    order = [(i + turn // 2) % count for i in range(count)]
    return order[::-1] if turn % 2 else order


def spread(values: Sequence[float] | np.ndarray) -> Spread:
    """Median and quartiles."""
    low, high = np.quantile(np.asarray(values), (0.25, 0.75))
    return Spread(statistics.median(map(float, values)), float(low), float(high))
