from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo.data.sampling import batch_indices, gather
from celo.errors import DataError
from celo.protocol import SplitTable

KEY = jax.random.PRNGKey(3)


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _draw(key: jax.Array, first: int, count: int, rows: int, batch_size: int) -> jax.Array:
    return batch_indices(key, first, count, rows=rows, batch_size=batch_size)


def _stream(count: int, rows: int, batch_size: int, key: jax.Array = KEY) -> np.ndarray:
    return np.asarray(_draw(key, 0, count, rows, batch_size))


@pytest.mark.parametrize(("rows", "batch_size"), [(20, 5), (23, 5), (5, 5), (7, 1)])
def test_an_epoch_has_every_row_once(rows: int, batch_size: int) -> None:
    per_epoch = rows // batch_size
    epochs = _stream(4 * per_epoch, rows, batch_size).reshape(4, per_epoch * batch_size)
    for epoch in epochs:
        assert len(set(epoch.tolist())) == per_epoch * batch_size
        assert 0 <= epoch.min() and epoch.max() < rows
    assert len({epoch.tobytes() for epoch in epochs}) == (4 if rows > 5 else len(epochs))


def test_every_row_is_as_likely_everywhere() -> None:
    keys = jax.random.split(KEY, 3000)
    first = jax.vmap(lambda key: _draw(key, 0, 1, 6, 3))(keys)
    counts = np.stack([np.bincount(np.asarray(first)[:, 0, i], minlength=6) for i in range(3)])
    # 500 expected, deviation 20
    assert abs(counts - 500).max() < 100


def test_any_part_of_the_stream_is_the_same_stream() -> None:
    rows = 23
    whole = _stream(60, rows, 4)
    for count in (1, 6, 17):  # within an epoch, one more than an epoch, several
        for first in range(60 - count):
            np.testing.assert_array_equal(
                _draw(KEY, first, count, rows, 4), whole[first : first + count]
            )


def test_far_away_batches_are_reached_directly() -> None:
    far = np.asarray(_draw(KEY, 2_000_000_001, 3, 10, 5))
    assert sorted(far[1:].ravel().tolist()) == list(range(10))


def test_keys_are_an_axis() -> None:
    keys = jax.random.split(KEY, 4)
    together = jax.vmap(lambda key: _draw(key, 7, 9, 23, 4))(keys)
    for key, found in zip(keys, together, strict=True):
        np.testing.assert_array_equal(found, _stream(16, 23, 4, key)[7:])
    assert len({np.asarray(x).tobytes() for x in together}) == 4
    assert together.dtype == jnp.int32


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(DataError, match="has 3 rows, expected at least one batch of 4"):
        batch_indices(KEY, 0, 1, rows=3, batch_size=4)


def test_gather_takes_rows_and_decodes() -> None:
    arrays = {"a": np.arange(20, dtype=np.uint8).reshape(10, 2), "b": np.arange(10)}
    table = SplitTable(arrays, 3, lambda rows: {"sum": rows["a"].sum(axis=1) + rows["b"]})
    batch = jax.jit(lambda a, i: gather(table, a, i))(arrays, jnp.array([4, 0, 9]))
    np.testing.assert_array_equal(batch["sum"], [8 + 9 + 4, 1, 18 + 19 + 9])
