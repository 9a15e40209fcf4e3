"""An LSTM with one row for each tensor, and how summaries of tensors are presented to it.

Parameter names are those of the published weights: `rnn/linear` for the LSTM itself.
"""

from __future__ import annotations

from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from celo.lopt.scheduler import zero_state
from celo.protocol import PRNGKey, PyTree


def log_magnitude(x: jax.Array) -> jax.Array:
    """The logarithm of |x|, clipped to [-5, 5]."""
    return jnp.clip(jnp.log(1e-8 + jnp.abs(x)), -5.0, 5.0)


def lstm_network(hidden_size: int) -> hk.Transformed:
    """inputs (tensors, features), LSTM state -> outputs (tensors, hidden size), new state."""
    return hk.without_apply_rng(hk.transform(lambda x, s: hk.LSTM(hidden_size, name="rnn")(x, s)))


def init_lstm(network: hk.Transformed, key: PRNGKey, hidden_size: int, inputs: int) -> PyTree:
    """Random weights of an LSTM with `inputs` input features."""
    return network.init(key, jnp.zeros((1, inputs), jnp.float32), zero_state(1, hidden_size))


def linear_network(size: int, name: str, *, zeros: bool = False) -> hk.Transformed:
    """A linear layer under a name of its own, starting from zeros or as Haiku starts it."""
    start = hk.initializers.Constant(0.0) if zeros else None
    return hk.without_apply_rng(hk.transform(lambda x: hk.Linear(size, w_init=start, name=name)(x)))


def apply_network(network: hk.Transformed, weights: PyTree, *inputs: Any) -> Any:
    """Applies one of these, with true float32 matrix products on every platform."""
    with jax.default_matmul_precision("highest"):
        return network.apply(weights, *inputs)
