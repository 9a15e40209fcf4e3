"""The unrolled engine against the plain form: stack, normalise, multiply matrices."""

from __future__ import annotations

from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo.lopt.features import stack_columns
from celo.lopt.perparam_mlp import (
    MlpWeights,
    apply_mlp,
    column_scales,
    interpolate,
    mean_squares,
    mlp_network,
    mlp_weights,
)

SHAPE = (3, 5, 4)
WIDTHS = (1, 3, 2, 1)
# Full size, constant along one axis, constant along another, full size.
BLOCK_SHAPES = ((3, 5, 4), (3, 1, 4), (3, 5, 1), (3, 5, 4))


def _blocks() -> tuple[jax.Array, ...]:
    keys = jax.random.split(jax.random.PRNGKey(0), len(WIDTHS))
    return tuple(
        10.0**i * jax.random.normal(key, (*shape, width))
        for i, (key, shape, width) in enumerate(zip(keys, BLOCK_SHAPES, WIDTHS, strict=True))
    )


def _squares(blocks: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    return tuple(map(jnp.square, blocks))


def _random(network: hk.Transformed) -> Any:
    """Weights of a network, biases included, without compiling its initialisers."""
    rng = np.random.default_rng(0)
    template = jax.eval_shape(network.init, jax.random.PRNGKey(0))
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), template)


def _weights(hidden: int) -> MlpWeights:
    return mlp_weights(_random(mlp_network(WIDTHS, (hidden, hidden), 3)), len(WIDTHS))


@pytest.mark.parametrize("first", [0, 1], ids=["all axes", "last two axes"])
def test_engine_equals_matrix_products_on_stacked_features(first: int) -> None:
    axes = tuple(range(first, len(SHAPE)))
    blocks, weights = _blocks(), _weights(8)

    @jax.jit
    def run(blocks, weights):
        scales = column_scales(mean_squares(_squares(blocks), first=first), eps=1e-5)
        return scales, apply_mlp(blocks, scales, weights, outputs=(2, 0))

    scales, found = run(blocks, weights)
    x = np.asarray(stack_columns(blocks, SHAPE), np.float64)
    x = x / np.sqrt(1e-5 + np.mean(x**2, axis=axes, keepdims=True))
    np.testing.assert_allclose(
        np.asarray(stack_columns(blocks, SHAPE)) * scales, x, rtol=1e-5, atol=1e-6
    )
    h = np.maximum(x @ weights.first + weights.first_bias, 0)
    (w1, b1), (w2, b2) = weights.layers
    o = np.maximum(h @ w1 + b1, 0) @ w2 + b2
    np.testing.assert_allclose(found[0], o[..., 2], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[1], o[..., 0], rtol=1e-4, atol=1e-5)


def test_interpolation_is_the_mean_over_copies() -> None:
    trees = [_random(mlp_network(WIDTHS, (4,), 2)) for _ in range(3)]
    stack = jax.tree.map(lambda *copies: jnp.stack(copies), *trees)
    stack = jax.tree.map(lambda x: x * jnp.arange(1.0, 4).reshape(3, *[1] * (x.ndim - 1)), stack)
    controls = jnp.asarray([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]])
    weights = mlp_weights(stack, len(WIDTHS))
    mixed = interpolate(weights, controls)
    for i, row in enumerate(controls):
        leaf = jax.tree.map(lambda x, i=i: x[i], mixed)
        expected = jax.tree.map(lambda w, row=row: np.tensordot(row, w, axes=1) / 3, weights)
        for found, want in zip(jax.tree.leaves(leaf), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-7)


def test_no_array_of_leaf_times_columns_is_ever_made() -> None:
    shape = (64, 32)

    def run(blocks, weights):
        scales = column_scales(mean_squares(_squares(blocks)), eps=1e-5)
        return apply_mlp(blocks, scales, weights, outputs=(0,))

    blocks = tuple(jnp.ones((*shape, width)) for width in WIDTHS)
    compiled = jax.jit(run).lower(blocks, _weights(4)).compile()
    whole = f"f32[{shape[0]},{shape[1]},{sum(WIDTHS)}]"
    assert whole not in compiled.as_text()
