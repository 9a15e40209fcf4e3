"""The recurrent network that sees the whole run: one LSTM row for each leaf.

Parameter names and creation order are those of the published weights, for Celo and VeLO alike.
"""

from __future__ import annotations

from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from celo.protocol import PRNGKey, PyTree

_PROGRESS_POINTS = np.asarray((0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0, 1.1), np.float32)

PROGRESS_FEATURES = len(_PROGRESS_POINTS)


class SchedulerOutput(NamedTuple):
    """Raw outputs, before any activation.

    Attributes:
      controls: (leaves, controls), or None when the network has none.
      log_step: (leaves,).
      state: the new LSTM state, hidden and cell (leaves, hidden_size).
    """

    controls: jax.Array | None
    log_step: jax.Array
    state: hk.LSTMState


def progress_embedding(iteration: jax.Array, num_steps: jax.Array) -> jax.Array:
    """Where the run is, float32 (9,): soft steps at fixed fractions of `num_steps`."""
    progress = iteration.astype(jnp.float32) / num_steps.astype(jnp.float32)
    return jnp.tanh(10.0 * (progress - _PROGRESS_POINTS))


def scheduler_network(hidden_size: int, controls: int | None) -> hk.Transformed:
    """The network as a Haiku transform: inputs (leaves, features), LSTM state -> SchedulerOutput.

    Args:
      hidden_size: width of the LSTM and of the layers before it.
      controls: number of control outputs, or None for none.
    """

    def forward(inputs: jax.Array, state: hk.LSTMState) -> SchedulerOutput:
        # Made and thrown away: published weights have this layer, and it takes its part of the key.
        hk.Linear(hidden_size, name="linear")(inputs)
        mixed = jax.nn.relu(hk.Linear(hidden_size, name="linear_1")(inputs))
        shared = jnp.max(mixed, axis=0, keepdims=True)
        rows = hk.Linear(hidden_size, name="linear_2")(inputs) + shared
        # Leaves that have the same inputs may come as one row.
        rows = jnp.broadcast_to(rows, state.hidden.shape)
        hidden, state = hk.LSTM(hidden_size, name="rnn")(rows, state)
        raw = None if controls is None else hk.Linear(controls, name="rnn_to_controls")(hidden)
        log_step = hk.Linear(1, name="step_size")(hidden)
        return SchedulerOutput(raw, jnp.squeeze(log_step, axis=-1), state)

    return hk.without_apply_rng(hk.transform(forward))


def init_scheduler(network: hk.Transformed, key: PRNGKey, hidden_size: int, inputs: int) -> PyTree:
    """Random weights of a scheduler with `inputs` input features."""
    return network.init(key, jnp.zeros((1, inputs), jnp.float32), zero_state(1, hidden_size))


def apply_scheduler(
    network: hk.Transformed, weights: PyTree, inputs: jax.Array, state: hk.LSTMState
) -> SchedulerOutput:
    """One step of the scheduler, with true float32 matrix products on every platform.

    Args:
      network: of `scheduler_network`.
      weights: its weights.
      inputs: float32 (leaves, features), or (1, features) when all leaves have the same.
      state: LSTM state, (leaves, hidden_size).
    """
    with jax.default_matmul_precision("highest"):
        return network.apply(weights, inputs, state)


def zero_state(rows: int, hidden_size: int) -> hk.LSTMState:
    """An LSTM state of zeros, hidden and cell (rows, hidden_size)."""
    zeros = (rows, hidden_size)
    return hk.LSTMState(jnp.zeros(zeros, jnp.float32), jnp.zeros(zeros, jnp.float32))


def tile_state(state: hk.LSTMState, rows: int) -> hk.LSTMState:
    """Repeats the learned initial state (1, hidden_size) for each leaf.

    Always new buffers, so that a donated optimizer state never takes the weights with it.
    """
    return jax.tree.map(lambda x: jnp.array(jnp.broadcast_to(x, (rows, x.shape[-1]))), state)
