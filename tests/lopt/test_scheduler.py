"""The scheduler network against the written equations, with rows that differ."""

from __future__ import annotations

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from celo.lopt.scheduler import (
    apply_scheduler,
    progress_embedding,
    scheduler_network,
    tile_state,
)

HIDDEN, INPUTS, LEAVES, CONTROLS = 8, 5, 3, 2


def _weights() -> dict[str, dict[str, jax.Array]]:
    rng = np.random.default_rng(0)
    network = scheduler_network(HIDDEN, CONTROLS)
    template = jax.eval_shape(
        network.init, jax.random.PRNGKey(0), jnp.zeros((LEAVES, INPUTS)), _state()
    )
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), template)


def _state() -> hk.LSTMState:
    rng = np.random.default_rng(1)
    hidden, cell = rng.normal(size=(2, LEAVES, HIDDEN)).astype(np.float32)
    return hk.LSTMState(jnp.asarray(hidden), jnp.asarray(cell))


def test_network_is_the_one_of_the_equations() -> None:
    weights, state = _weights(), _state()
    x = np.random.default_rng(2).normal(size=(LEAVES, INPUTS)).astype(np.float32)
    found = apply_scheduler(scheduler_network(HIDDEN, CONTROLS), weights, jnp.asarray(x), state)

    def linear(name: str, value: np.ndarray) -> np.ndarray:
        return value @ np.asarray(weights[name]["w"]) + np.asarray(weights[name]["b"])

    def sigmoid(value: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-value))

    y = linear("linear_2", x) + np.max(np.maximum(linear("linear_1", x), 0), axis=0)
    z = linear("rnn/linear", np.concatenate([y, state.hidden], axis=1))
    i, g, f, o = np.split(z, 4, axis=1)
    cell = sigmoid(f + 1) * np.asarray(state.cell) + sigmoid(i) * np.tanh(g)
    hidden = sigmoid(o) * np.tanh(cell)
    np.testing.assert_allclose(found.state.cell, cell, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.state.hidden, hidden, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.controls, linear("rnn_to_controls", hidden), 1e-4, 1e-5)
    np.testing.assert_allclose(found.log_step, linear("step_size", hidden)[:, 0], 1e-4, 1e-5)


def test_one_input_row_serves_all_leaves() -> None:
    network, weights, state = scheduler_network(HIDDEN, CONTROLS), _weights(), _state()
    row = jnp.ones((1, INPUTS))
    one = apply_scheduler(network, weights, row, state)
    many = apply_scheduler(network, weights, jnp.tile(row, (LEAVES, 1)), state)
    np.testing.assert_allclose(one.log_step, many.log_step, rtol=1e-5)


def test_matrix_products_are_float32_on_every_platform() -> None:
    network, weights, state = scheduler_network(HIDDEN, CONTROLS), _weights(), _state()
    jaxpr = jax.make_jaxpr(lambda x: apply_scheduler(network, weights, x, state))(
        jnp.ones((1, INPUTS))
    )
    products = [e for e in jaxpr.eqns if e.primitive.name == "dot_general"]
    highest = (jax.lax.Precision.HIGHEST, jax.lax.Precision.HIGHEST)
    assert products and all(e.params["precision"] == highest for e in products)


def test_initial_state_never_shares_memory_with_the_weights() -> None:
    learned = jax.tree.map(lambda x: x[:1], _state())
    for rows in (1, 2):
        tiled = tile_state(learned, rows)
        for new, old in zip(jax.tree.leaves(tiled), jax.tree.leaves(learned), strict=True):
            assert new.unsafe_buffer_pointer() != old.unsafe_buffer_pointer()
            np.testing.assert_array_equal(new, np.repeat(old, rows, axis=0))


def test_progress_is_a_fraction_of_the_run() -> None:
    early = progress_embedding(jnp.int32(3), jnp.int32(100))
    late = progress_embedding(jnp.int32(110), jnp.int32(100))
    np.testing.assert_allclose([early[0], late[-1]], 0.0, atol=1e-5)
    np.testing.assert_allclose(early[1], np.tanh(-0.7), rtol=1e-5)
