"""The learned direction that Celo2 and Celo2-base share, and with them their optax form.

A direction is what a step multiplier turns into a step; descent subtracts it.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TypeAlias

import jax
import jax.numpy as jnp
import optax

from celo.lopt.accumulators import (
    Accumulators,
    Decays,
    Factored,
    FactoredLeaf,
    Momentum,
    SecondMoment,
    decays,
    factored_leaves,
    init_accumulators,
    update_accumulators,
)
from celo.lopt.features import (
    BLOCK_WIDTHS,
    GRADIENT_WIDTHS,
    Blocks,
    factored_blocks,
    factored_squares,
    gradient_blocks,
    gradient_squares,
)
from celo.lopt.leaves import clip_gradients, flatten_with, map_leaves, widen
from celo.lopt.orthogonalize import MUON_COEFFICIENTS, newton_schulz
from celo.lopt.perparam_mlp import (
    MlpWeights,
    apply_mlp,
    column_scales,
    mean_squares,
    mlp_network,
    mlp_weights,
)
from celo.protocol import MetaParams, Params, PRNGKey, state_record

Number: TypeAlias = float | jax.Array

DECAYS = Decays(decays(0.9, 0.99, 0.999), decays(0.95), decays(0.9, 0.99, 0.999))

_HIDDEN = (8, 8)
_OUTPUTS = 3  # published weights have a third output, which nothing uses
_EPS = 1e-9


@dataclasses.dataclass(frozen=True)
class Celo2Rule:
    """What the learned direction depends on besides weights; defaults are those of Celo2.

    Attributes:
      exp_mult: factor of the network's second output, which scales a direction exponentially.
        With the constant 0.0 that output is not computed; it could only matter where it is not
        finite while the first output is.
      orthogonalize: whether the directions of leaves of rank >= 2 pass through Newton-Schulz.
      ns_coefficients: of the Newton-Schulz polynomial.
      ns_iterations: of Newton-Schulz.
      ns_eps: added to the norm by which Newton-Schulz divides.
    """

    exp_mult: Number = 0.0
    orthogonalize: bool = True
    ns_coefficients: tuple[float, float, float] = MUON_COEFFICIENTS
    ns_iterations: int = 5
    ns_eps: Number = 1e-8


@state_record
class RuleState:
    """What the learned direction remembers.

    Attributes:
      mom_rolling: momenta, three decays.
      rms_rolling: second moments, one decay.
      fac_rolling: factored second moments, three decays.
      iteration: int32 (), updates done.
    """

    mom_rolling: Momentum
    rms_rolling: SecondMoment
    fac_rolling: Factored
    iteration: jax.Array


def init_weights(key: PRNGKey) -> MetaParams:
    """Random weights of the learned direction."""
    network_key, _ = jax.random.split(key)
    network = mlp_network(BLOCK_WIDTHS, _HIDDEN, _OUTPUTS)
    return {"ff_mod_stack": network.init(network_key)}


def init_rule(params: Params) -> RuleState:
    """The state before the first update."""
    return RuleState(*init_accumulators(params, DECAYS), iteration=jnp.zeros((), jnp.int32))


def rule_directions(
    rule: Celo2Rule, theta: MetaParams, state: RuleState, params: Params, grad: Params
) -> tuple[Params, RuleState]:
    """The learned direction of every leaf, float32, and the state after this gradient.

    The mean square of a direction over its last two axes is one. The new state is not yet cast to
    the dtypes of the old one.
    """
    clipped = clip_gradients(grad)
    old = Accumulators(state.mom_rolling, state.rms_rolling, state.fac_rolling)
    new = update_accumulators(old, clipped, DECAYS)
    structure = jax.tree.structure(clipped)
    arguments = [
        (widen(p), g, m, rms, v)
        for (p, g, m, rms), v in zip(
            flatten_with(structure, params, clipped, new.momentum.m, new.second_moment.rms),
            factored_leaves(new.factored, structure),
            strict=True,
        )
    ]
    network = theta["ff_mod_stack"]
    direction = functools.partial(
        leaf_direction,
        rule,
        mlp_weights(network, len(GRADIENT_WIDTHS)),
        mlp_weights(network, len(BLOCK_WIDTHS)),
    )
    directions = structure.unflatten(map_leaves(direction, arguments))
    count = jnp.asarray(optax.safe_increment(state.iteration))
    return directions, RuleState(*new, iteration=count)


def leaf_direction(
    rule: Celo2Rule,
    vector_weights: MlpWeights,
    matrix_weights: MlpWeights,
    p: jax.Array,
    g: jax.Array,
    m: jax.Array,
    rms: jax.Array,
    v: FactoredLeaf,
) -> jax.Array:
    """The learned direction of one leaf.

    Args:
      rule: what to compute.
      vector_weights: of the network without factored columns, for leaves of rank 0 and 1.
      matrix_weights: of the whole network, for all others.
      p: parameters before the update, shape S, float32.
      g: clipped gradient, shape S, float32.
      m: updated momenta, S + (3,).
      rms: updated second moment, S + (1,).
      v: updated factored accumulators.
    """
    blocks, scales = leaf_columns(p, g, m, rms, v)
    weights = vector_weights if p.ndim < 2 else matrix_weights
    if isinstance(rule.exp_mult, float | int) and rule.exp_mult == 0:
        (direction,) = apply_mlp(blocks, scales, weights, outputs=(0,))
    else:
        direction, magnitude = apply_mlp(blocks, scales, weights, outputs=(0, 1))
        direction = direction * jnp.exp(rule.exp_mult * magnitude)
    if rule.orthogonalize and p.ndim >= 2:
        direction = newton_schulz(
            direction,
            coefficients=rule.ns_coefficients,
            iterations=rule.ns_iterations,
            eps=rule.ns_eps,
        )
    mean_square = jnp.mean(jnp.square(direction), axis=_last_two(p.ndim), keepdims=True)
    return direction * jax.lax.rsqrt(_EPS + mean_square)


def leaf_columns(
    p: jax.Array, g: jax.Array, m: jax.Array, rms: jax.Array, v: FactoredLeaf
) -> tuple[Blocks, jax.Array]:
    """The input columns of one leaf and the factors that normalise them: 30, or 15 below rank 2."""
    blocks = gradient_blocks(p, g, m, rms, v, rms_eps=1e-8)
    squares = gradient_squares(p, g, m, rms, v, rms_eps=1e-8)
    if p.ndim >= 2:
        blocks += factored_blocks(m, v, p.shape)
        squares += factored_squares(m, v, p.shape)
    return blocks, column_scales(mean_squares(squares, first=max(p.ndim - 2, 0)), eps=_EPS)


def _last_two(rank: int) -> tuple[int, ...]:
    return tuple(range(max(rank - 2, 0), rank))
