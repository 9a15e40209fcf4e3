"""Tables that stay on the host: the rows of a window are gathered while the device is busy.

The compiled loop is the same as for tables on the device: it gathers rows by number from a table,
only that the table holds the rows of one window, in the order in which they are used. So the
numbers are the same to the last bit. The next window is gathered by threads while the device works
on this one; its row numbers were drawn one window earlier still, because whoever asks a busy
device for them waits until it is idle.
"""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from celo.data.mapped import take
from celo.evaluation.batches import EVAL_SPLITS, Rows, Window
from celo.protocol import SplitTable

WORKERS = min(4, os.cpu_count() or 1)


class Feed:
    """Windows of rows, by number, with the one that follows already on its way."""

    def __init__(
        self,
        tables: tuple[SplitTable, ...],
        draw: Callable[[int], Rows],
        windows: int,
        workers: int = WORKERS,
    ):
        """Draws and gathers nothing yet.

        Args:
          tables: of the evaluated splits, on the host.
          draw: number of a window -> row numbers, each within its own split.
          windows: how many a run has; after the last one, the first is made ready again.
          workers: threads that gather; the rows are the same for any number.
        """
        self._tables = tables
        self._draw = draw
        self._windows = windows
        self._drawn: dict[int, Rows] = {}
        self._coming: dict[int, Future[Window]] = {}
        # One to put windows together, the others to copy rows.
        self._planner = ThreadPoolExecutor(1, "celo-feed")
        self._copiers = ThreadPoolExecutor(workers, "celo-rows")
        for pool in (self._planner, self._copiers):
            weakref.finalize(self, pool.shutdown, wait=False, cancel_futures=True)

    def __call__(self, number: int) -> Window:
        """The rows of a window."""
        following = [(number + ahead) % self._windows for ahead in range(3)]
        self._drawn = {n: self._drawn.get(n) or self._draw(n) for n in following}
        wanted = following[:2]
        self._coming = {n: self._coming.get(n) or self._send_for(n) for n in wanted}
        return self._coming[number].result()

    def _send_for(self, number: int) -> Future[Window]:
        # Nothing of `self`: a feed that nobody needs any more must be free to go.
        return self._planner.submit(_gather, self._tables, self._drawn[number], self._copiers)


def _gather(tables: tuple[SplitTable, ...], rows: Rows, copiers: ThreadPoolExecutor) -> Window:
    training, evaluation = np.asarray(rows.training), np.asarray(rows.evaluation)
    streams = [training, *np.moveaxis(evaluation, 1, 0)]
    sources = [tables[0], *tables]
    arrays = {}
    for name in tables[0].arrays:
        parts = [
            take(np.asanyarray(source.arrays[name]), stream.reshape(-1), copiers.map)
            for source, stream in zip(sources, streams, strict=True)
        ]
        arrays[name] = jax.device_put(np.concatenate(parts))
    return Window(_places(training.shape, evaluation.shape), arrays)


def _places(training: tuple[int, ...], evaluation: tuple[int, ...]) -> Rows:
    """Where the rows of a window lie in its table: one after the other."""
    size, splits = math.prod(training), len(EVAL_SPLITS)
    by_split = (splits, evaluation[0], *evaluation[2:])
    first = np.arange(size, dtype=np.int32).reshape(training)
    rest = size + np.arange(math.prod(evaluation), dtype=np.int32).reshape(by_split)
    return Rows(jax.device_put(first), jax.device_put(np.moveaxis(rest, 0, 1).copy()))


def abstract_window(tables: tuple[SplitTable, ...], rows: Rows) -> Window:
    """Shapes of a window, from the shapes of its row numbers."""
    total = math.prod(rows.training.shape) + math.prod(rows.evaluation.shape)
    arrays: dict[str, Any] = {
        name: jax.ShapeDtypeStruct((total, *array.shape[1:]), array.dtype)
        for name, array in tables[0].arrays.items()
    }
    return Window(rows, arrays)
