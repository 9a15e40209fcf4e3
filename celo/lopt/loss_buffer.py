"""Ten running averages of the training loss and the nine features made of them.

The formulas are evaluated in float32 exactly as written: 1 - decay**k loses digits for long
horizons, a feature is a ratio of small differences, and the published weights have seen the result.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from celo.protocol import state_record

AVERAGES = 10
FEATURES = AVERAGES - 1

_NO_MINIMUM_YET = 999999999999.0


@state_record
class LossBuffer:
    """Running averages of the loss with time constants from 10 steps to the whole run.

    Attributes:
      means: float32 (10,), without bias correction.
      running_min: float32 (10,), smallest corrected average so far.
      decays: float32 (10,).
      iteration: int32 (), number of losses seen.
    """

    means: jax.Array
    running_min: jax.Array
    decays: jax.Array
    iteration: jax.Array


def init_loss_buffer(num_steps: jax.Array) -> LossBuffer:
    """The buffer of a run of `num_steps` updates (int or float scalar, may be traced)."""
    longest = jnp.log10(jnp.asarray(num_steps, jnp.float32))
    time_constants = 10.0 ** jnp.linspace(1.0, longest, AVERAGES, dtype=jnp.float32)
    return LossBuffer(
        means=jnp.zeros((AVERAGES,), jnp.float32),
        running_min=jnp.full((AVERAGES,), _NO_MINIMUM_YET, jnp.float32),
        decays=jnp.exp(-1.0 / time_constants),
        iteration=jnp.zeros((), jnp.int32),
    )


def update_loss_buffer(buffer: LossBuffer, loss: jax.Array) -> LossBuffer:
    """Adds one loss (float32 scalar), with upward spikes clipped at twice the largest average.

    The averages that bound the loss are the *old* means divided by the *new* correction, hence
    biased low; the published weights were trained so.
    """
    count = buffer.iteration + 1
    correction = _correction(buffer.decays, count)
    largest = jnp.max(buffer.means / correction)
    bound = 2 * jnp.abs(jnp.where(buffer.iteration == 0, loss, largest))
    clipped = jnp.minimum(bound, loss)
    means = buffer.decays * buffer.means + (1 - buffer.decays) * clipped
    return LossBuffer(
        means=means,
        running_min=jnp.minimum(buffer.running_min, means / correction),
        decays=buffer.decays,
        iteration=count,
    )


def loss_features(buffer: LossBuffer) -> jax.Array:
    """Nine numbers in [-1, 1] from a buffer that has seen at least one loss, float32 (9,).

    Each compares an average with the next longer one, both relative to the running minimum of the
    shorter. All are zero for the first two losses (multiplied by zero: a NaN stays visible).
    """
    corrected = buffer.means / _correction(buffer.decays, buffer.iteration)
    minimum = buffer.running_min[:-1]
    shorter, longer = corrected[:-1] - minimum, corrected[1:] - minimum
    features = jnp.clip(shorter / jnp.maximum(1e-8, longer) - 1.0, -1.0, 1.0)
    return features * (buffer.iteration > 2)


def _correction(decays: jax.Array, count: jax.Array) -> jax.Array:
    return 1.0 - jnp.power(decays, count.astype(jnp.float32))
