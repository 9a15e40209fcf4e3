"""What Celo and Celo-Adam have in common: a scheduler that reads the losses and nothing else."""

from __future__ import annotations

import haiku as hk
import jax
import jax.numpy as jnp

from celo.lopt.loss_buffer import FEATURES, loss_features, update_loss_buffer
from celo.lopt.scheduled import Schedule, ScheduledState
from celo.lopt.scheduler import PROGRESS_FEATURES, apply_scheduler, progress_embedding
from celo.protocol import MetaParams

SCHEDULER_INPUTS = PROGRESS_FEATURES + FEATURES


def loss_schedule(
    network: hk.Transformed, theta: MetaParams, opt_state: ScheduledState, loss: jax.Array
) -> Schedule:
    """Feeds one loss to the scheduler.

    All leaves have the same inputs, progress (9) and loss features (9), hence the same factor,
    which is positive, and the same controls, which sum to one.
    """
    buffer = update_loss_buffer(opt_state.loss_buffer, loss)
    progress = progress_embedding(opt_state.iteration, opt_state.num_steps)
    inputs = jnp.concatenate([progress, loss_features(buffer)])
    output = apply_scheduler(
        network, theta["rnn_params"], inputs[None, :], opt_state.lstm_hidden_state
    )
    # With one copy the softmax is 1, or NaN after a NaN loss: that it spreads is published
    # behaviour, and it costs next to nothing.
    controls = None if output.controls is None else jax.nn.softmax(output.controls, axis=-1)
    return Schedule(buffer, inputs, 0.1 * jnp.exp(output.log_step), controls, output.state)
