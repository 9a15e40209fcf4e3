"""The per-parameter network of scheduled optimizers, and the meta-parameters of the two together.

The scheduler mixes the network of each leaf from copies (`celo.lopt.perparam_mlp.interpolate`); the
network sees the fourteen blocks of `celo.lopt.features` and says where to go and how far, relative
to the size of the leaf.
"""

from __future__ import annotations

from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from celo.lopt.accumulators import Accumulators, Decays, FactoredLeaf, decays, factored_leaves
from celo.lopt.features import (
    BLOCK_WIDTHS,
    PARAMETER,
    Blocks,
    factored_blocks,
    factored_squares,
    gradient_blocks,
    gradient_squares,
)
from celo.lopt.leaves import flatten_with, map_leaves, widen
from celo.lopt.perparam_mlp import MlpWeights, apply_mlp, column_scales, mean_squares, mlp_network
from celo.lopt.scheduler import init_scheduler, zero_state
from celo.protocol import MetaParams, Params, PRNGKey

MLP_DECAYS = Decays(decays(0.9, 0.99, 0.999), decays(0.999), decays(0.9, 0.99, 0.999))
"""What makes the widths of the fourteen blocks; no part of the weights."""

EPS = 1e-5
"""Added to the mean square of each column."""

_HIDDEN = (4, 4)
_OUTPUTS = 3  # published weights have a third output, which nothing uses


def init_scheduled_theta(
    key: PRNGKey,
    scheduler: hk.Transformed,
    *,
    inputs: int,
    hidden_size: int,
    copies: int | None,
) -> MetaParams:
    """Random meta-parameters, bit for bit those that the published code draws from this key.

    Args:
      key: PRNG key.
      scheduler: the recurrent network.
      inputs: what it sees of each leaf.
      hidden_size: its width.
      copies: of the per-parameter network, or None for an optimizer without one.
    """
    stack_key, rest = jax.random.split(key)
    scheduler_key, _ = jax.random.split(rest)
    theta = {
        "lstm_init_state": zero_state(1, hidden_size),
        "rnn_params": init_scheduler(scheduler, scheduler_key, hidden_size, inputs),
    }
    if copies is not None:
        network = mlp_network(BLOCK_WIDTHS, _HIDDEN, _OUTPUTS)
        theta["ff_mod_stack"] = jax.vmap(network.init)(jax.random.split(stack_key, copies))
    return theta


def mlp_steps(
    params: Params,
    clipped: Params,
    accumulators: Accumulators,
    weights: MlpWeights,
    lr_mult: jax.Array | None,
    *,
    exp_mult: float | jax.Array,
    step_mult: float | jax.Array,
) -> Params:
    """The steps of all leaves, float32, leaves of equal shape evaluated together.

    Args:
      params: before the update.
      clipped: gradient, at least float32.
      accumulators: updated with it.
      weights: of the per-parameter network, with a leading axis of leaves, or of size one where all
        leaves have the same.
      lr_mult: float32 (leaves,) or (1,), factor of each leaf's step, or None for none.
      exp_mult: factor of the second output, which scales a step exponentially.
      step_mult: factor of every step.
    """
    structure = jax.tree.structure(clipped)
    momentum, second_moment, factored = accumulators
    parts = flatten_with(structure, params, clipped, momentum.m, second_moment.rms)
    arguments = [
        (widen(p), g, m, rms, v)
        for (p, g, m, rms), v in zip(parts, factored_leaves(factored, structure), strict=True)
    ]

    def leaf(p: Any, g: Any, m: Any, rms: Any, v: Any, w: Any, *factor: Any) -> jax.Array:
        step = leaf_step(p, g, m, rms, v, w, exp_mult, step_mult)
        return factor[0] * step if factor else step

    rows = (weights,) if lr_mult is None else (weights, lr_mult)
    return structure.unflatten(map_leaves(leaf, arguments, rows))


def leaf_step(
    p: jax.Array,
    g: jax.Array,
    m: jax.Array,
    rms: jax.Array,
    v: FactoredLeaf,
    weights: MlpWeights,
    exp_mult: float | jax.Array,
    step_mult: float | jax.Array,
) -> jax.Array:
    """The step of one leaf before the scheduler's factor.

    Args:
      p: parameters before the update, shape S, float32.
      g: clipped gradient, shape S, float32.
      m: updated momenta, S + (3,).
      rms: updated second moment, S + (1,).
      v: updated factored accumulators.
      weights: of the per-parameter network for this leaf.
      exp_mult: factor of the second output.
      step_mult: factor of the step.
    """
    blocks, means = leaf_columns(p, g, m, rms, v)
    direction, magnitude = apply_mlp(blocks, column_scales(means, eps=EPS), weights, outputs=(0, 1))
    parameter_scale = jnp.sqrt(means[..., PARAMETER] + 1e-9)
    return direction * (parameter_scale * jnp.exp(exp_mult * magnitude)) * step_mult


def leaf_columns(
    p: jax.Array, g: jax.Array, m: jax.Array, rms: jax.Array, v: FactoredLeaf
) -> tuple[Blocks, jax.Array]:
    """The thirty input columns of one leaf and their mean squares."""
    blocks = gradient_blocks(p, g, m, rms, v, rms_eps=1e-6) + factored_blocks(m, v, p.shape)
    squares = gradient_squares(p, g, m, rms, v, rms_eps=1e-6) + factored_squares(m, v, p.shape)
    return blocks, mean_squares(squares)
