"""Batches drawn by key: a permutation an epoch, without replacement, at random access.

Batch number i of an endless stream is a pure function of (key, i), so a run can start anywhere in
it, be cut into chunks of any size, and be vmapped over keys.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import lax

from celo.data import bijection
from celo.errors import DataError
from celo.protocol import Batch, PRNGKey, SplitTable

SORTED_ROWS = 2**20
"""Rows up to which an epoch is shuffled by a sort; beyond, places are computed one by one."""


def check_rows(rows: int, batch_size: int, what: str = "the split") -> None:
    """Refuses splits that do not fill one batch.

    Raises:
      DataError: fewer rows than a batch has.
    """
    if batch_size < 1 or rows < batch_size:
        raise DataError(
            f"{what} has {rows} rows, expected at least one batch of {batch_size}",
            hint="use a more complete copy of the data set",
        )


def batch_indices(
    key: PRNGKey,
    first: int | jax.Array,
    count: int,
    *,
    rows: int,
    batch_size: int,
    stack: int | None = None,
) -> jax.Array:
    """Rows of the batches first ... first + count - 1 of an endless stream.

    An epoch is floor(rows / batch_size) batches of a permutation drawn from `fold_in(key, epoch)`;
    what does not fill a batch is dropped. Up to `SORTED_ROWS` rows the permutation is a sort of
    random bits; beyond, where a sort an epoch would cost seconds and memory, it is
    `celo.data.bijection`, which computes the wanted rows alone.

    Args:
      key: of the stream; may be a vmapped axis.
      first: number of the first batch, from 0; may be traced.
      count: how many batches, at least 1; static.
      rows: rows of the split; static.
      batch_size: rows of a batch; static.
      stack: batch i is the stack of the batches i * stack ... (i + 1) * stack - 1; static.

    Returns:
      int32 [count, batch_size], or [count, stack, batch_size].

    Raises:
      DataError: fewer rows than a batch has.
    """
    if stack is not None:
        first, total = jnp.asarray(first, jnp.int32) * stack, count * stack
        plain = batch_indices(key, first, total, rows=rows, batch_size=batch_size)
        return plain.reshape(count, stack, batch_size)
    check_rows(rows, batch_size)
    if rows > bijection.LARGEST:
        raise DataError(
            f"the split has {rows} rows, expected at most {bijection.LARGEST}",
            hint="give it fewer, longer rows",
        )
    per_epoch = rows // batch_size
    first = jnp.asarray(first, jnp.int32)
    if rows > SORTED_ROWS:
        return _computed_indices(key, first, count, rows=rows, batch_size=batch_size)
    first_epoch = first // per_epoch
    last_epoch = (first + count - 1) // per_epoch
    most_epochs = -((1 - count) // per_epoch) + 1  # ceil((count - 1) / per_epoch) + 1

    def batches_of(epoch: jax.Array) -> jax.Array:
        # Ties of the random bits (less than one pair in 50,000 rows) keep the order of the rows.
        # One sort where jax.random.permutation makes two: 11 ms, not 26, for 48,000 rows on a CPU.
        order = jnp.argsort(jax.random.bits(jax.random.fold_in(key, epoch), (rows,)))
        kept = order[: per_epoch * batch_size].astype(jnp.int32)
        return kept.reshape(per_epoch, batch_size)

    def batches_if_needed(epoch: jax.Array) -> jax.Array:
        # Most chunks lie within one epoch: the sort of the next one is skipped then.
        unused = jnp.zeros((per_epoch, batch_size), jnp.int32)
        return lax.cond(epoch <= last_epoch, batches_of, lambda _: unused, epoch)

    epochs = first_epoch + jnp.arange(most_epochs, dtype=jnp.int32)
    stream = lax.map(batches_if_needed, epochs).reshape(most_epochs * per_epoch, batch_size)
    start = first - first_epoch * per_epoch
    return lax.dynamic_slice_in_dim(stream, start, count)


def _computed_indices(
    key: PRNGKey, first: jax.Array, count: int, *, rows: int, batch_size: int
) -> jax.Array:
    per_epoch = rows // batch_size

    def batch(number: jax.Array) -> jax.Array:
        keys = bijection.round_keys(jax.random.fold_in(key, number // per_epoch))
        start = (number % per_epoch) * batch_size
        return bijection.permuted(start + jnp.arange(batch_size, dtype=jnp.int32), keys, rows)

    return jax.vmap(batch)(first + jnp.arange(count, dtype=jnp.int32))


def gather(table: SplitTable, arrays: Mapping[str, jax.Array], indices: jax.Array) -> Batch:
    """The batch of these rows; to be traced inside compiled code.

    Args:
      table: of the split; says how rows are decoded.
      arrays: `table.arrays`, as arguments of the compiled function: arrays that it closes over
        would become constants of the program.
      indices: int32 of shape `table.rows_shape`, all within the table.
    """
    rows = {
        name: jnp.asarray(array).at[indices].get(mode="promise_in_bounds")
        for name, array in arrays.items()
    }
    return table.decode(rows)
