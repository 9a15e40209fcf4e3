"""Accumulators against the written formulas in NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo.lopt.accumulators import (
    decays,
    factored_columns,
    factored_leaves,
    factored_scales,
    init_factored,
    init_momentum,
    update_factored,
    update_momentum,
)
from celo.lopt.leaves import leaf_shape


@pytest.mark.parametrize(
    ("shape", "d1", "d0"),
    [
        ((5, 5), 0, 1),
        ((130, 70), 1, 0),
        ((3, 3, 4, 8), 2, 3),
        ((4, 3, 4), 0, 2),
        ((4, 4, 3), 0, 1),
        ((2, 2, 2, 2), 2, 3),
        ((5, 1), 1, 0),
        ((3, 3, 1, 1), 0, 1),
        ((7,), None, None),
        ((), None, None),
    ],
)
def test_factored_axes_are_the_two_largest_the_later_winning_ties(
    shape: tuple[int, ...], d1: int | None, d0: int | None
) -> None:
    leaf = leaf_shape(shape)
    assert (leaf.d1, leaf.d0) == (d1, d0)
    assert leaf.factored == (len(shape) >= 2)


def test_one_minus_decay_is_a_float32_difference() -> None:
    new = update_momentum(init_momentum(jnp.zeros(1), 1), jnp.ones(1), decays(0.999))
    assert float(new.m[0, 0]) == float(np.float32(1) - np.float32(0.999)) != np.float32(0.001)
    np.testing.assert_array_equal(new.t, [1])


@pytest.mark.parametrize("shape", [(6, 5), (3, 4, 2), (2, 3, 5, 4), (7,), ()])
def test_factored_averages_and_scales(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    e = decays(0.9, 0.99)
    gradients = [np.asarray(rng.normal(size=shape), np.float32) for _ in range(2)]
    state = init_factored(jnp.zeros(shape), 2)
    for g in gradients:
        state = update_factored(state, jnp.asarray(g), e)
    leaf = leaf_shape(shape)
    v = factored_leaves(state, jax.tree.structure(0))[0]
    product = np.ones(())
    for factor in factored_scales(v, leaf):
        product = product * np.asarray(factor, np.float64)

    for i, decay in enumerate(e.astype(np.float64)):

        def average(values: list[np.ndarray], decay: float = decay) -> np.ndarray:
            total = np.zeros_like(values[0], np.float64)
            for value in values:
                total = decay * total + (1 - decay) * value
            return total

        squares = [g.astype(np.float64) ** 2 + 1e-30 for g in gradients]
        if leaf.factored:
            assert leaf.d0 is not None and leaf.d1 is not None
            row = average([np.mean(q, axis=leaf.d0, keepdims=True) for q in squares])
            col = average([np.mean(q, axis=leaf.d1, keepdims=True) for q in squares])
            expected = (row / (row.mean(axis=leaf.d1, keepdims=True) + 1e-9)) ** -0.5 * col**-0.5
            found_row, found_col = factored_columns(v, leaf)
            np.testing.assert_allclose(found_row[..., i], row, rtol=1e-5)
            np.testing.assert_allclose(found_col[..., i], col, rtol=1e-5)
            assert v.v_diag.shape == (0, 2)
        else:
            diagonal = average(squares)
            np.testing.assert_allclose(v.v_diag[..., i], diagonal, rtol=1e-5)
            expected = (diagonal + 1e-9) ** -0.5
            assert v.v_row.shape == v.v_col.shape == (0, 2)
        np.testing.assert_allclose(product[..., i], expected, rtol=1e-5)
