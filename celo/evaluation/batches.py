"""Which rows a run sees: drawn by key, apart from the training loop, once for all optimizers.

The three evaluated splits of a task lie on the device as one table, so that the loop needs one
gather, and the row numbers of a whole window are drawn by a program of their own, compiled once
a task: sorting is slow to compile and has nothing to do with the optimizer.
"""

from __future__ import annotations

import zlib
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
"""Evaluation points whose batches are drawn together; a call of the loop stays within a window."""

# Streams of randomness of one run, folded into its key.
INIT, BATCHES, LOSS, EVAL, EVAL_LOSS = range(5)


def run_key(task_name: str, seed: int | jax.Array) -> jax.Array:
    """The key of a run: a function of task and seed alone, so that comparisons are paired."""
    return jax.random.fold_in(jax.random.PRNGKey(seed), zlib.crc32(task_name.encode()) >> 1)


@dataclass(frozen=True)
class Rows:
    """Row numbers, in the joint table, of every batch of one window of evaluation points.

    Attributes:
      training: int32 [seeds, POINTS_PER_WINDOW * eval_every, *rows_shape]; the first one belongs to
        the first step of the window.
      evaluation: int32 [seeds, 3 splits, batches, *rows_shape]; `eval_batches` of them a point.
    """

    training: jax.Array
    evaluation: jax.Array


jax.tree_util.register_dataclass(Rows)


@dataclass(frozen=True)
class Batches:
    """The data of a task on the device.

    Attributes:
      table: rows of the evaluated splits, one after the other, with how to decode a batch.
      splits: (first row, rows) of each split.
    """

    table: SplitTable
    splits: tuple[tuple[int, int], ...]


def open_batches(task: Task) -> Batches:
    """Reads the splits of a task and puts them on the device; without data every batch is `()`.

    Raises:
      DataError: the data are missing or damaged.
    """
    if task.datasets is None:
        nothing = SplitTable({"row": jnp.zeros((1,), jnp.uint8)}, 1, lambda rows: ())
        return Batches(nothing, tuple((0, 1) for _ in EVAL_SPLITS))
    tables = [task.datasets.table(split) for split in EVAL_SPLITS]
    arrays = {
        name: jax.device_put(np.concatenate([table.arrays[name] for table in tables]))
        for name in tables[0].arrays
    }
    starts = np.cumsum([0, *(table.rows for table in tables)])
    splits = tuple((int(s), table.rows) for s, table in zip(starts, tables, strict=False))
    return Batches(replace(tables[0], arrays=arrays), splits)


def draw_rows(batches: Batches, keys: jax.Array, first: jax.Array, *, schedule: Schedule) -> Rows:
    """Draws the rows of one window; to be compiled with everything but keys and first bound.

    Args:
      batches: of the task.
      keys: uint32 [seeds, 2]: `run_key` of every run.
      first: number of the window's first evaluation point.
      schedule: of the run.
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
            stream(training_key, 0, step, POINTS_PER_WINDOW * s.eval_every),
            jnp.stack(
                [
                    stream(
                        jax.random.fold_in(evaluation_key, split),
                        split,
                        first * s.eval_batches,
                        POINTS_PER_WINDOW * s.eval_batches + spare,
                    )
                    for split in range(len(EVAL_SPLITS))
                ]
            ),
        )

    return jax.vmap(one_run)(keys)
