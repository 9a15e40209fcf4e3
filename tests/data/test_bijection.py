from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo.data import sampling
from celo.data.bijection import permuted, round_keys
from celo.data.sampling import batch_indices
from celo.errors import DataError

KEY = jax.random.PRNGKey(5)


@functools.partial(jax.jit, static_argnums=1)
def _whole(keys: jax.Array, size: int) -> jax.Array:
    return permuted(jnp.arange(size, dtype=jnp.int32), keys, size)


@pytest.mark.parametrize("size", [2, 3, 5, 64, 65, 1000, 4099])
def test_it_is_a_permutation(size: int) -> None:
    found = _whole(round_keys(KEY), size)
    assert found.dtype == jnp.int32
    assert sorted(found.tolist()) == list(range(size))


def test_every_row_is_as_likely_everywhere() -> None:
    keys = jax.vmap(round_keys)(jax.random.split(KEY, 7000))
    found = np.asarray(jax.vmap(lambda k: permuted(jnp.arange(7), k, 7))(keys))
    counts = np.stack([np.bincount(found[:, place], minlength=7) for place in range(7)])
    assert abs(counts - 1000).max() < 150  # the deviation is 29
    # Neighbours do not stay together: all 42 ordered pairs are as frequent at two places.
    pairs = np.bincount(found[:, 2] * 7 + found[:, 3], minlength=49)
    assert abs(pairs[pairs > 0] - 7000 / 42).max() < 70 and (pairs > 0).sum() == 42


def test_its_numbers_never_change() -> None:
    found = permuted(jnp.arange(5), jnp.arange(8, dtype=jnp.uint32), 3_000_000)
    assert found.tolist() == [1453073, 1948199, 901300, 198046, 1405056]


def test_two_epochs_of_a_big_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "SORTED_ROWS", 4096)
    rows, batch = 4097, 1024
    draw = jax.jit(lambda first: batch_indices(KEY, first, 4, rows=rows, batch_size=batch))
    first, second = np.asarray(draw(0)), np.asarray(draw(4))
    for epoch in (first, second):
        assert len(np.unique(epoch)) == 4096
        assert 0 <= epoch.min() and epoch.max() < rows
    assert (first == second).mean() < 0.01
    np.testing.assert_array_equal(draw(2), np.concatenate([first[2:], second[:2]]))


def test_rows_of_three_hundred_million_are_drawn_at_once() -> None:
    draw = jax.jit(lambda k: batch_indices(k, 10**6, 3, rows=300_000_000, batch_size=128))
    together = jax.vmap(draw)(jax.random.split(KEY, 2))
    np.testing.assert_array_equal(together[1], draw(jax.random.split(KEY, 2)[1]))
    assert together.max() > 250_000_000 and len(np.unique(together)) > 760


def test_more_rows_than_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="expected at most 2147483647"):
        batch_indices(KEY, 0, 1, rows=2**31, batch_size=4)


def test_sorted_and_computed_permutations_are_never_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    before = batch_indices(KEY, 0, 2, rows=100, batch_size=10)
    monkeypatch.setattr(sampling, "SORTED_ROWS", 99)
    assert (before != batch_indices(KEY, 0, 2, rows=100, batch_size=10)).any()
