"""Celo2's Adam: epsilon under the root, bias correction on request."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from celo.lopt.accumulators import (
    Momentum,
    SecondMoment,
    init_momentum,
    init_second_moment,
    update_momentum,
    update_second_moment,
)
from celo.lopt.leaves import widen
from celo.protocol import Params, state_record
from celo_plugins.celo2.rule import Number


@state_record
class AdamState:
    """What Adam remembers.

    Attributes:
      mom_rolling: momenta, one decay.
      rms_rolling: second moments, one decay.
      iteration: int32 (), updates done.
    """

    mom_rolling: Momentum
    rms_rolling: SecondMoment
    iteration: jax.Array


def init_adam(params: Params) -> AdamState:
    """The state before the first update."""
    return AdamState(
        mom_rolling=init_momentum(params, 1),
        rms_rolling=init_second_moment(params, 1),
        iteration=jnp.zeros((), jnp.int32),
    )


def adam_directions(
    state: AdamState, grad: Params, *, b1: Number, b2: Number, eps: Number, bias_correction: bool
) -> tuple[Params, AdamState]:
    """m / sqrt(v + eps) for every leaf, float32, and the state after this gradient.

    Note `eps` under the root and gradients without any bound. The new state is not yet cast to the
    dtypes of the old one.
    """
    d1, d2 = (jnp.reshape(jnp.asarray(b, jnp.float32), (1,)) for b in (b1, b2))
    grad = jax.tree.map(widen, grad)
    momentum = update_momentum(state.mom_rolling, grad, d1)
    second_moment = update_second_moment(state.rms_rolling, grad, d2)
    count = jnp.asarray(optax.safe_increment(state.iteration))
    c1, c2 = (1 - d**count if bias_correction else 1.0 for d in (d1, d2))

    def direction(m: jax.Array, v: jax.Array) -> jax.Array:
        return jnp.squeeze(m / c1 * jax.lax.rsqrt(v / c2 + eps), axis=-1)

    directions = jax.tree.map(direction, momentum.m, second_moment.rms)
    return directions, AdamState(momentum, second_moment, count)
