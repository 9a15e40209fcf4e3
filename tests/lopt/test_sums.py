"""Sums of many columns in one pass."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo.lopt.sums import sum_columns

SHAPES = {
    "scalar": ((), 0),
    "nothing to sum over": ((3, 4), 2),
    "vector": ((100,), 0),
    "empty": ((0, 3), 0),
    "short rows": ((50, 3), 0),
    "long rows": ((7, 300), 0),
    "last two axes": ((2, 3, 70), 1),
    "long vector": ((20_000,), 0),
    "rows too long": ((3, 20_000), 0),
    "many rows": ((17_000, 65), 0),
}


@pytest.mark.parametrize(("shape", "first"), SHAPES.values(), ids=SHAPES)
def test_sums_are_those_of_float64(shape: tuple[int, ...], first: int) -> None:
    rng = np.random.default_rng(0)
    columns = [jnp.asarray(rng.random(shape), jnp.float32) * 10.0**k for k in range(3)]
    found = jax.jit(lambda columns: sum_columns(columns, first))(columns)
    axes = tuple(range(first, len(shape)))
    for total, column in zip(found, columns, strict=True):
        want = np.sum(np.asarray(column, np.float64), axis=axes)
        assert total.shape == want.shape
        np.testing.assert_allclose(total, want, rtol=2e-6)


def test_columns_are_never_written_to_memory() -> None:
    def run(x: jax.Array) -> tuple[jax.Array, ...]:
        return sum_columns([jnp.square(x), 1 / (x + 1), jnp.minimum(x, 0.1)], 0)

    compiled = jax.jit(run).lower(jax.ShapeDtypeStruct((512, 256), jnp.float32)).compile()
    memory = compiled.memory_analysis()
    # The sums of 512 rows.
    assert memory is not None and memory.temp_size_in_bytes < 10 * 512 * 4


def test_derivatives_both_ways() -> None:
    x = jnp.arange(1.0, 13).reshape(3, 4)

    def total(x: jax.Array) -> jax.Array:
        squares, cubes = sum_columns([x**2, x**3], 0)
        return squares + 0.1 * cubes

    np.testing.assert_allclose(jax.grad(total)(x), 2 * x + 0.3 * x**2, rtol=1e-5)
    forward = jax.jvp(total, (x,), (jnp.ones_like(x),))[1]
    np.testing.assert_allclose(forward, jnp.sum(2 * x + 0.3 * x**2), rtol=1e-5)
