"""NN-Adam beyond its golden files."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo.errors import UsageError
from celo_plugins import nn_adam
from celo_plugins.nn_adam_tensor import AdamValues, decode, encode

LOPT = nn_adam.build(lstm_hidden_size=4)
PARAMS = {"b": jnp.asarray([0.5, -1.0, 2.0]), "w": jnp.asarray([[1.0, -0.5], [0.1, 0.0]])}
GRADS = {"b": jnp.asarray([1.0, -0.1, 3e4]), "w": jnp.asarray([[0.2, -2.0], [0.0, 1.0]])}


def test_untrained_weights_are_adam_without_bias_correction() -> None:
    optimizer = LOPT.opt_fn(LOPT.init(jax.random.PRNGKey(0)))
    state = optimizer.init(PARAMS, num_steps=5)
    for _ in range(2):
        state = optimizer.update(state, GRADS)
    for name, p in PARAMS.items():
        g = np.clip(np.asarray(GRADS[name], np.float64), -1000, 1000)
        p, m, v = np.asarray(p, np.float64), 0.0, 0.0
        for _ in range(2):
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            p = p - 1e-4 * m / (1e-8 + np.sqrt(v + 1e-10))
        np.testing.assert_allclose(state.params[name], p, rtol=1e-6, atol=1e-8)
    assert int(state.rolling_features.t) == int(state.iteration) == 2


def _values(*numbers: float) -> AdamValues:
    return AdamValues(*(jnp.float32(x) for x in numbers))


def test_values_stay_within_their_bounds() -> None:
    low, high = _values(-9.0, -9.0, -9.0, -9.0), _values(9.0, 9.0, 9.0, 9.0)
    np.testing.assert_allclose(decode(low), (1e-8, 1 - np.exp(-10), 1 - np.exp(-10), 1e-11), 1e-6)
    np.testing.assert_allclose(decode(high), (1e3, 0.0, 0.0, 1e4), rtol=1e-6)


def test_there_and_back_rounds_decays_near_one_as_float32_does() -> None:
    encoded = np.float32(0.1) * np.log(np.float32(5e-5))
    back = jax.jit(lambda x: encode(decode(AdamValues(x, x, x, x))))(encoded)
    want = np.float32(0.1) * np.log(1 - (1 - np.exp(np.float32(10) * encoded)))
    np.testing.assert_allclose(back.beta1, want, rtol=3e-7)
    assert abs(back.beta1 - encoded) > 1e-5, "simplified away"
    assert abs(back.lr - encoded) < 1e-6


def test_decay_pulls_the_values_back_to_where_theta_starts() -> None:
    theta = LOPT.init(jax.random.PRNGKey(0))
    controls = theta["rnn_to_controls_params"]["rnn_to_controls"]
    controls["b"] = controls["b"].at[0].set(3.0)

    def lr_after(strength: float) -> float:
        lopt = nn_adam.build(lstm_hidden_size=4, decay_strength=strength)
        optimizer = lopt.opt_fn(theta)
        state = optimizer.update(optimizer.init(PARAMS, num_steps=5), GRADS)
        return float(state.per_layer_lr["b"])

    start = float(theta["per_layer_lr"])
    # The LSTM's output of 3, times 0.01; then half of the way back.
    np.testing.assert_allclose(lr_after(0.0) - start, 0.03, rtol=1e-3)
    np.testing.assert_allclose(lr_after(0.5) - start, 0.015, rtol=1e-3)


def test_the_length_of_the_run_is_needed() -> None:
    with pytest.raises(UsageError, match="num_steps is None"):
        LOPT.opt_fn(LOPT.init(jax.random.PRNGKey(0))).init(PARAMS)
