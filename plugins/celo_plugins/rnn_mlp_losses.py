"""What RNN-MLP keeps of past losses and gradients: two loss averages, a bound of the gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from celo.protocol import Params, state_record

_TRAINING_DECAY = 0.9
_VALIDATION_DECAY = 0.95
_CLIP_DECAY = 0.99
_CLIP_FACTOR = 10.0


@state_record
class LossAverage:
    """Running mean and variance of losses, without bias correction.

    Attributes:
      mean: float32 ().
      var: float32 ().
      updates: int32 (), losses seen.
    """

    mean: jax.Array
    var: jax.Array
    updates: jax.Array


@state_record
class DynamicClip:
    """Running size of the gradients.

    Attributes:
      iteration: float32 (), updates seen plus one.
      value: float32 (), average of their root mean square, without bias correction.
    """

    iteration: jax.Array
    value: jax.Array


def no_losses() -> LossAverage:
    """The average before the first loss."""
    zero = jnp.zeros((), jnp.float32)
    return LossAverage(zero, jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32))


def next_training_loss(average: LossAverage, loss: jax.Array) -> LossAverage:
    """Adds one training loss."""
    return _next(average, loss, _TRAINING_DECAY)


def next_validation_loss(average: LossAverage, loss: jax.Array) -> LossAverage:
    """Adds one validation loss."""
    return _next(average, loss, _VALIDATION_DECAY)


def loss_features(training: LossAverage, validation: LossAverage, loss: jax.Array) -> jax.Array:
    """How far two losses lie from the mean of the training losses, in deviations, float32 (2,).

    The second is the mean validation loss, or zero before the first one; it is held against the
    statistics of the *training* losses too.

    Args:
      training: with the newest loss.
      validation: as it is.
      loss: the newest training loss.
    """
    updates = validation.updates.astype(jnp.float32)
    mean_validation = validation.mean / (1 - jnp.power(_VALIDATION_DECAY, updates) + 1e-7)
    updates = training.updates.astype(jnp.float32)
    correction = 1 / (1 - jnp.power(_TRAINING_DECAY, updates) + 1e-8)
    deviations = jnp.stack([loss, mean_validation]) - training.mean * correction
    return jnp.clip(deviations * jax.lax.rsqrt(training.var * correction + 1e-8), -5.0, 5.0)


def first_clip() -> DynamicClip:
    """Such that the first bound is ten."""
    return DynamicClip(jnp.ones((), jnp.float32), jnp.asarray(1 - _CLIP_DECAY, jnp.float32))


def clip_dynamically(clip: DynamicClip, grad: Params) -> tuple[Params, DynamicClip]:
    """Clips every element to ten times the running size, then adds the clipped gradient to it."""
    size = clip.value / (1 - jnp.power(_CLIP_DECAY, clip.iteration))
    bound = _CLIP_FACTOR * size
    clipped = jax.tree.map(lambda g: jnp.clip(g, -bound, bound), grad)
    # The mean of an empty leaf is zero, not NaN.
    squares = [jnp.mean(jnp.square(g)) if g.size else 0.0 for g in jax.tree.leaves(clipped)]
    newest = jnp.sqrt(1e-8 + sum(squares) / len(squares))
    value = _CLIP_DECAY * clip.value + (1 - _CLIP_DECAY) * newest
    return clipped, DynamicClip(clip.iteration + 1, value)


def _next(average: LossAverage, loss: jax.Array, decay: float) -> LossAverage:
    mean = decay * average.mean + (1 - decay) * loss
    var = decay * average.var + (1 - decay) * jnp.square(mean - loss)
    return LossAverage(mean, var, average.updates + 1)
