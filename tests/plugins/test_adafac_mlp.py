"""Adafac-MLP beyond its golden files."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo.errors import UsageError
from celo.lopt.features import stack_columns
from celo.lopt.perparam_mlp import apply_mlp
from celo_plugins import adafac_mlp

LOPT = adafac_mlp.build()


def _theta(lopt: Any = LOPT) -> Any:
    return jax.tree.map(lambda x: x + 0.1, lopt.init(jax.random.PRNGKey(0)))


def test_theta_has_197_numbers() -> None:
    theta = jax.eval_shape(LOPT.init, jax.random.PRNGKey(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(theta)) == 197


def test_initial_decays_are_the_usual_ones_and_squares_never_grow() -> None:
    theta = LOPT.init(jax.random.PRNGKey(0))
    for found, want in zip(adafac_mlp.learned_decays(theta), adafac_mlp.DECAYS, strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-6)
    far = {name: theta[name] + 1.0 for name in theta if name.endswith("decays")}
    momentum, second_moment, factored = adafac_mlp.learned_decays(far)
    assert np.all(momentum < 0), "momenta are not clipped"
    assert np.all(second_moment == 0) and np.all(factored == 0)
    # The decay moves with e^(10 theta): 0.05 makes 1 - 0.9 into 0.1 e^0.5.
    near = {name: theta[name] + 0.05 for name in far}
    momentum = adafac_mlp.learned_decays(near).momentum
    np.testing.assert_allclose(momentum[0], 1 - 0.1 * np.exp(0.5), rtol=1e-5)


def test_the_step_count_in_the_bias_equals_eleven_more_columns() -> None:
    network = _theta()["nn"]
    rng = np.random.default_rng(0)
    blocks = (jnp.asarray(rng.normal(size=(3, 4, 28)), jnp.float32),)
    scales = jnp.ones(28)
    weights = adafac_mlp.network_weights(network, jnp.int32(7))
    found = apply_mlp(blocks, scales, weights, outputs=(0, 1))

    arrays = {name: np.asarray(x, np.float64) for name, x in network["~"].items()}
    steps = [1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5]
    times = np.broadcast_to(np.tanh(7 / np.asarray(steps) - 1), (3, 4, 11))
    x = np.concatenate([stack_columns(blocks, (3, 4)) * scales, times], -1)
    h = np.maximum(x @ arrays["w0"] + arrays["b0"], 0)
    o = np.maximum(h @ arrays["w1"] + arrays["b1"], 0) @ arrays["w2"] + arrays["b2"]
    np.testing.assert_allclose(found[0], o[..., 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[1], o[..., 1], rtol=1e-4, atol=1e-5)


def test_gradients_are_not_clipped() -> None:
    optimizer = LOPT.opt_fn(LOPT.init(jax.random.PRNGKey(0)))
    params, grads = {"b": jnp.ones(3)}, {"b": jnp.asarray([1e5, 1.0, 0.0])}
    new = optimizer.update(optimizer.init(params, num_steps=5), grads)
    np.testing.assert_allclose(new.mom_rolling.m["b"][0, 0], 1e4, rtol=1e-5)


def test_the_length_of_the_run_is_needed() -> None:
    with pytest.raises(UsageError, match="num_steps is None"):
        LOPT.opt_fn(_theta()).init({"b": jnp.ones(3)})
