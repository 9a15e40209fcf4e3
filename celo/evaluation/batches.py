"""Which rows a run sees: drawn by key, apart from the training loop, once for all optimizers.

The three evaluated splits of a task lie on the device as one table, so that the loop needs one
gather, and the row numbers of a whole window are drawn by a program of their own, compiled once
a task: sorting is slow to compile and has nothing to do with the optimizer. Tables that are too
large for the device stay on the host (`celo.evaluation.feeding`).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from celo.data.sampling import batch_indices
from celo.evaluation.cells import Schedule
from celo.protocol import SplitTable, Task

EVAL_SPLITS = ("train", "outer_valid", "test")
POINTS_PER_WINDOW = 20
"""Most evaluation points whose batches are drawn together; a call stays within a window."""

DEVICE_BYTES = 2 * 2**30
"""Tables up to this size, all splits together, are copied to the device."""

WINDOW_BYTES = 64 * 2**20
"""About as much is fed to the device at once where its table stays on the host."""

# Streams of randomness of one run, folded into its key.
INIT, BATCHES, LOSS, EVAL, EVAL_LOSS = range(5)


def run_key(task_name: str, seed: int | jax.Array) -> jax.Array:
    """The key of a run: a function of task and seed alone, so that comparisons are paired."""
    return jax.random.fold_in(jax.random.PRNGKey(seed), zlib.crc32(task_name.encode()) >> 1)


@dataclass(frozen=True)
class Rows:
    """Row numbers, in the joint table, of every batch of one window of evaluation points.

    Attributes:
      training: int32 [seeds, points of a window * eval_every, *rows_shape]; the first one belongs
        to the first step of the window.
      evaluation: int32 [seeds, 3 splits, batches, *rows_shape]; `eval_batches` of them a point.
    """

    training: jax.Array
    evaluation: jax.Array


jax.tree_util.register_dataclass(Rows)


@dataclass(frozen=True)
class Window:
    """What the loop reads for one window.

    Attributes:
      rows: numbers of rows in the arrays.
      arrays: name -> [rows, ...]: the joint table, or, where that stays on the host, the rows of
        this window alone.
    """

    rows: Rows
    arrays: Mapping[str, jax.Array]


jax.tree_util.register_dataclass(Window)


@dataclass(frozen=True)
class Batches:
    """The data of a task.

    Attributes:
      table: rows of the evaluated splits, one after the other, on the device, with how to decode a
        batch; only the latter counts if they stay on the host.
      splits: (first row, rows) of each split.
      host: tables of the splits, where they stay on the host.
    """

    table: SplitTable
    splits: tuple[tuple[int, int], ...]
    host: tuple[SplitTable, ...] | None = None


def open_batches(task: Task, device_bytes: int | None = None) -> Batches:
    """Reads the splits of a task and puts them on the device; without data every batch is `()`.

    Args:
      task: whose data.
      device_bytes: tables beyond this size stay on the host; None means `DEVICE_BYTES`. It decides
        where the rows lie, not which they are.

    Raises:
      DataError: the data are missing or damaged.
    """
    if task.datasets is None:
        nothing = SplitTable({"row": jnp.zeros((1,), jnp.uint8)}, 1, lambda rows: ())
        return Batches(nothing, tuple((0, 1) for _ in EVAL_SPLITS))
    tables = tuple(task.datasets.table(split) for split in EVAL_SPLITS)
    size = sum(array.nbytes for table in tables for array in table.arrays.values())
    if size > (DEVICE_BYTES if device_bytes is None else device_bytes):
        return Batches(tables[0], tuple((0, table.rows) for table in tables), tables)
    arrays = {
        name: jax.device_put(np.concatenate([table.arrays[name] for table in tables]))
        for name in tables[0].arrays
    }
    starts = np.cumsum([0, *(table.rows for table in tables)])
    splits = tuple((int(s), table.rows) for s, table in zip(starts, tables, strict=False))
    return Batches(replace(tables[0], arrays=arrays), splits)


def points_per_window(batches: Batches, seeds: int, schedule: Schedule) -> int:
    """Evaluation points of a window: fewer where each of them brings many bytes to the device."""
    if batches.host is None:
        return POINTS_PER_WINDOW
    table = batches.table
    row = sum(array.nbytes for array in table.arrays.values()) // table.rows
    batch = row * math.prod(table.rows_shape)
    point = seeds * batch * (schedule.eval_every + len(EVAL_SPLITS) * schedule.eval_batches)
    return int(min(max(WINDOW_BYTES // point, 1), POINTS_PER_WINDOW))


def draw_rows(
    batches: Batches,
    keys: jax.Array,
    first: jax.Array,
    *,
    schedule: Schedule,
    points: int = POINTS_PER_WINDOW,
) -> Rows:
    """Draws the rows of one window; to be compiled with everything but keys and first bound.

    Args:
      batches: of the task.
      keys: uint32 [seeds, 2]: `run_key` of every run.
      first: number of the window's first evaluation point.
      schedule: of the run.
      points: of a window.
    """
    s, table = schedule, batches.table
    draw = partial(batch_indices, batch_size=table.batch_size, stack=table.stack)
    step = jnp.minimum(first * s.eval_every, s.steps)
    spare = max(0, s.last_eval_batches - s.eval_batches)

    def one_run(key: jax.Array) -> Rows:
        def stream(key: jax.Array, split: int, start: jax.Array, count: int) -> jax.Array:
            offset, rows = batches.splits[split]
            return offset + draw(key, start, count, rows=rows)

        training_key = jax.random.fold_in(key, BATCHES)
        evaluation_key = jax.random.fold_in(key, EVAL)
        return Rows(
            stream(training_key, 0, step, points * s.eval_every),
            jnp.stack(
                [
                    stream(
                        jax.random.fold_in(evaluation_key, split),
                        split,
                        first * s.eval_batches,
                        points * s.eval_batches + spare,
                    )
                    for split in range(len(EVAL_SPLITS))
                ]
            ),
        )

    return jax.vmap(one_run)(keys)
