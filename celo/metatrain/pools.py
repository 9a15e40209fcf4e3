"""Training data of several families as one table on the device, rows drawn by key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from celo.protocol import PRNGKey, SplitTable


@dataclass(frozen=True)
class Pool:
    """The rows of some families, one family after the other.

    Attributes:
      table: all rows as numpy arrays, and how a batch is made of some; for tasks without data a
        single row whose batch is `()`.
      starts: first row of each family.
      rows: number of rows of each family.
    """

    table: SplitTable
    starts: tuple[int, ...]
    rows: tuple[int, ...]

    @property
    def families(self) -> int:
        return len(self.starts)

    def draw_rows(self, key: PRNGKey, family: jax.Array, batches: int) -> jax.Array:
        """Row numbers of batches, int32 [batches, batch size], each row drawn independently.

        With replacement: a permutation of every set for every particle in every window would cost
        more than the training, and a batch hardly ever draws a row twice.
        """
        count = jnp.asarray(self.rows, jnp.uint32)[family]
        bits = jax.random.bits(key, (batches, self.table.batch_size), jnp.uint32)
        return (bits % count).astype(jnp.int32) + jnp.asarray(self.starts, jnp.int32)[family]


def pool_of(datasets: Sequence[Any]) -> Pool:
    """The pool of families that have batches of one form.

    Args:
      datasets: of each family, or None for those without data.

    Raises:
      DataError: the data are missing or damaged.
    """
    if datasets[0] is None:
        nothing = SplitTable({"row": np.zeros((1,), np.uint8)}, 1, lambda rows: ())
        return Pool(nothing, (0,) * len(datasets), (1,) * len(datasets))
    tables = [source.table("train") for source in datasets]
    arrays = {
        name: np.concatenate([np.asarray(table.arrays[name]) for table in tables])
        if len(tables) > 1
        else tables[0].arrays[name]
        for name in tables[0].arrays
    }
    starts = np.cumsum([0, *(table.rows for table in tables)])[:-1]
    table = SplitTable(arrays, tables[0].batch_size, tables[0].decode)
    return Pool(table, tuple(map(int, starts)), tuple(table.rows for table in tables))
