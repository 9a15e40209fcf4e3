"""MLP-LOpt: no golden file of its own, but one of a task that trains it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from celo_plugins import mlp_lopt
from tests.plugins.inner_training import check_inner_training


def test_inner_training_and_its_derivative() -> None:
    check_inner_training(mlp_lopt.build(), "LOpt_MLPLOpt_FahionMnist_10")


def test_a_step_is_the_network_on_normalised_columns_and_step_features() -> None:
    lopt = mlp_lopt.build(hidden_size=5, exp_mult=0.5, step_mult=0.1)
    theta = lopt.init(jax.random.PRNGKey(0))
    theta = jax.tree.map(lambda x: x + 0.1, theta)
    optimizer = lopt.opt_fn(theta)
    params = {"w": jnp.asarray([[0.5, -2.0, 1.0], [0.1, 2e3, -0.3]])}
    grads = {"w": jnp.asarray([[1.0, -0.2, 2e3], [0.3, -1.0, 0.0]])}
    state = optimizer.update(optimizer.init(params), grads)
    found = optimizer.update(state, grads)

    p, g = (np.asarray(x["w"], np.float64) for x in (state.params, grads))
    decay = np.asarray(mlp_lopt.DECAYS, np.float64)
    m = g[..., None] * (1 - decay**2)
    x = np.concatenate([g[..., None], p[..., None], m], -1)
    x /= np.sqrt(1e-5 + np.mean(x**2, axis=(0, 1)))
    scales = [1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5]
    times = np.broadcast_to(np.tanh(1 / np.asarray(scales) - 1), (2, 3, 11))
    h = np.concatenate([x, times], -1)
    for i in range(3):
        layer = theta[f"mlp/~/linear_{i}"]
        h = (np.maximum(h, 0) if i else h) @ np.asarray(layer["w"], np.float64) + layer["b"]
    want = p - h[..., 0] * np.exp(0.5 * h[..., 1]) * 0.1
    np.testing.assert_allclose(found.params["w"], want, rtol=1e-4, atol=1e-6)
    assert int(found.iteration) == 2
