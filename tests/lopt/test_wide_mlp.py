"""Blocks of rows against the plain form: stack, normalise, multiply matrices."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo.lopt import wide_mlp
from celo.lopt.perparam_mlp import MlpWeights, with_constant_inputs
from celo.lopt.wide_mlp import (
    apply_wide_mlp,
    column_moments,
    dense_network,
    dense_weights,
    mean_outputs,
)

COMPILE_FAST = {"xla_backend_optimization_level": 0}
# Rows of a block and of the leaf: a single block, whole blocks, a last block that overlaps.
SIZES = [(32, 20), (5, 20), (7, 20)]
SIZE_IDS = ["one block", "whole blocks", "overlap"]


def _columns(a: jax.Array, b: jax.Array) -> tuple[jax.Array, ...]:
    return a, jnp.tanh(b), a * b


def _arrays(count: int) -> list[jax.Array]:
    rng = np.random.default_rng(0)
    widths = (1, 3)
    return [jnp.asarray(3 * rng.normal(size=(count, w)), jnp.float32) for w in widths]


def _random(network: Any, inputs: int) -> Any:
    rng = np.random.default_rng(1)
    template = jax.eval_shape(network.init, jax.random.PRNGKey(0), jnp.zeros((1, inputs)))
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), template)


def _weights() -> MlpWeights:
    weights, _ = dense_weights(_random(dense_network((16, 16), 5), 7), 7)
    return weights


def _run(arrays: Any, weights: MlpWeights) -> Any:
    scales = jax.lax.rsqrt(1e-5 + column_moments(_columns, arrays).square)
    found, mean_hidden = apply_wide_mlp(_columns, arrays, scales, weights, 2, _finish)
    return scales, found, mean_outputs(weights, mean_hidden, skip=2)


def _finish(first: Any, second: Any) -> Any:
    return first - 2 * second


def _plain(arrays: Any, weights: MlpWeights) -> Any:
    a, b = (np.asarray(x, np.float64) for x in arrays)
    x = np.concatenate([a, np.tanh(b), a * b], axis=-1)
    scales = 1 / np.sqrt(1e-5 + np.mean(x**2, axis=0))
    h = np.maximum(x * scales @ weights.first + weights.first_bias, 0)
    (w1, b1), (w2, b2) = weights.layers
    o = np.maximum(h @ w1 + b1, 0) @ w2 + b2
    return scales, _finish(o[:, 0], o[:, 1]), np.mean(o[:, 2:], axis=0)


def _compiled(function: Any) -> Any:
    # A function of its own each time: compiled programs are remembered, and with them the blocks.
    return jax.jit(lambda *arguments: function(*arguments), compiler_options=COMPILE_FAST)


def _assert_close(found: Any, want: Any) -> None:
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("rows", "count"), SIZES, ids=SIZE_IDS)
def test_blocks_equal_matrix_products_on_stacked_columns(
    rows: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wide_mlp, "_block_rows", lambda: rows)
    arrays, weights = _arrays(count), _weights()
    _assert_close(_compiled(_run)(arrays, weights), _plain(arrays, weights))


def test_vmap_and_derivatives_pass_through_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wide_mlp, "_block_rows", lambda: 7)
    arrays, weights = _arrays(20), _weights()
    other = [0.5 * a - 0.1 for a in arrays]
    stacked = [jnp.stack(pair) for pair in zip(arrays, other, strict=True)]
    together = _compiled(jax.vmap(_run, in_axes=(0, None)))
    found = together(stacked, weights)
    for i, alone in enumerate((arrays, other)):
        _assert_close(jax.tree.map(lambda x, i=i: x[i], found), _plain(alone, weights))

    def loss(weights: MlpWeights) -> jax.Array:
        _, found, means = _run(arrays, weights)
        return jnp.sum(jnp.sin(found) * found) + jnp.sum(means)

    direction = jax.tree.map(lambda w: 0.01 * jnp.cos(jnp.arange(w.size)).reshape(w.shape), weights)

    def slopes(weights: MlpWeights) -> tuple[jax.Array, jax.Array]:
        products = jax.tree.map(lambda g, d: jnp.sum(g * d), jax.grad(loss)(weights), direction)
        forward = jax.jvp(loss, (weights,), (direction,))[1]
        return jnp.sum(jnp.stack(jax.tree.leaves(products))), forward

    backward, forward = _compiled(slopes)(weights)
    np.testing.assert_allclose(backward, forward, rtol=1e-3)
    assert abs(float(forward)) > 0.1


@pytest.mark.parametrize(("rows", "count"), SIZES, ids=SIZE_IDS)
def test_moments_survive_a_large_mean(
    rows: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wide_mlp, "_block_rows", lambda: rows)
    monkeypatch.setattr(wide_mlp, "_LANES", 4)
    a, b = _arrays(count)
    arrays = [a + 3000.0, b]
    found = _compiled(lambda arrays: column_moments(lambda a, b: (a, b), arrays))(arrays)
    exact = np.concatenate([np.asarray(x, np.float64) for x in arrays], axis=1)
    np.testing.assert_allclose(found.mean, exact.mean(axis=0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.variance, exact.var(axis=0), rtol=1e-3)
    np.testing.assert_allclose(found.square, np.square(exact).mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize("count", [1, 127, 129, 1000, 16385, 10240])
def test_blocks_are_alike_and_cover_all_rows(count: int) -> None:
    def mark(seen: Any, start: jax.Array, fresh: jax.Array, block: jax.Array) -> Any:
        old = jax.lax.dynamic_slice_in_dim(seen, start, fresh.size)
        return jax.lax.dynamic_update_slice_in_dim(seen, old + fresh * block[0], start, 0)

    array = jnp.ones((count, 1), jnp.float32)
    seen = _compiled(lambda a: wide_mlp.fold_rows(mark, jnp.zeros(count), [a]))(array)
    np.testing.assert_array_equal(seen, np.ones(count))


def test_constant_inputs_are_a_bias() -> None:
    tree = _random(dense_network((4,), 2), 9)
    weights, matrix = dense_weights(tree, 7)
    assert matrix.shape == (2, 4)
    constants = jnp.asarray([2.0, -1.0])
    found = with_constant_inputs(weights, constants, matrix).first_bias
    layer = tree["mlp/~/linear_0"]
    np.testing.assert_allclose(found, layer["b"] + constants @ layer["w"][7:], rtol=1e-6)


def test_nothing_of_leaf_times_units_is_ever_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wide_mlp, "_block_rows", lambda: 64)
    arrays, weights = _arrays(6400), _weights()
    compiled = _compiled(_run).lower(arrays, weights).compile()
    memory = compiled.memory_analysis()
    # One number for each row, and what one block needs.
    assert memory is None or memory.temp_size_in_bytes < 6400 * 4 * 3


def test_an_empty_leaf_is_no_error() -> None:
    scales, found, means = _run(_arrays(0), _weights())
    assert found.shape == (0,) and np.all(np.isfinite(scales)) and np.all(np.isfinite(means))
