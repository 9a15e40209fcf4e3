"""RNN-MLP on one tensor: what the LSTM sees of it, and the network on its entries."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from celo.lopt.accumulators import decays
from celo.lopt.perparam_mlp import with_constant_inputs
from celo.lopt.step_features import TIME_SCALES
from celo.lopt.tensor_lstm import log_magnitude
from celo.lopt.wide_mlp import (
    apply_wide_mlp,
    column_moments,
    dense_weights,
    mean_outputs,
)
from celo.protocol import PyTree

DECAYS = decays(0.5, 0.9, 0.99, 0.999, 0.9999)
COLUMNS = 3 + 4 * len(DECAYS)

_AXES = 4

SUMMARIES = 12 + _AXES
LOSS_FEATURES = 2
CONSTANTS = len(TIME_SCALES) + 3


class Leaf(NamedTuple):
    """A tensor at one update.

    Attributes:
      p: parameters before the update, shape S, float32.
      g: clipped gradient, shape S, float32.
      m: updated momenta, S + (decays,), float32.
      rms: updated second moments, S + (decays,), float32.
    """

    p: jax.Array
    g: jax.Array
    m: jax.Array
    rms: jax.Array


class Summary(NamedTuple):
    """What is known of a tensor before the network sees it, float32.

    Attributes:
      first: (9 + axes,), inputs of the LSTM before the loss features.
      last: (3,), inputs after them.
      norm: (), Euclidean norm of the parameters.
      scales: (COLUMNS,), factors of the network's columns.
    """

    first: jax.Array
    last: jax.Array
    norm: jax.Array
    scales: jax.Array


def summarise(leaf: Leaf) -> Summary:
    """Norms, means and variances of a tensor; means and variances of all decays together."""
    moments = column_moments(_columns, _rows(leaf))
    g_norm, norm = jnp.sqrt(moments.square[:2] * leaf.p.size)
    means, variances = [], []
    for first, count in ((3, len(DECAYS)), (3 + len(DECAYS), len(DECAYS)), (1, 1)):
        mean, variance = (x[first : first + count] for x in moments)
        means.append(jnp.mean(mean))
        variances.append(jnp.mean(variance + jnp.square(mean - means[-1])))
    sizes = (*leaf.p.shape, *(1,) * _AXES)[:_AXES]
    first = [
        log_magnitude(g_norm),
        1.0 if leaf.p.ndim == 0 else -1.0,
        *(f(mean) for mean in means for f in (log_magnitude, jnp.sign)),
        log_magnitude(norm),
        *(math.log(max(size, 1)) - 1.0 for size in sizes),
    ]
    return Summary(
        first=jnp.stack([jnp.asarray(x, jnp.float32) for x in first]),
        last=log_magnitude(jnp.stack(variances)),
        norm=norm,
        scales=jax.lax.rsqrt(1e-5 + moments.square),
    )


def iteration_inputs(iteration: jax.Array, leaves: int) -> jax.Array:
    """Inputs of the network that are the same for all tensors, float32 (12,)."""
    waves = jnp.sin(iteration.astype(jnp.float32) / (math.pi * TIME_SCALES))
    return jnp.append(waves, jnp.float32(math.log(leaves) - 1.0))


def leaf_step(
    leaf: Leaf,
    summary: Summary,
    from_lstm: jax.Array,
    iteration: jax.Array,
    network: PyTree,
    exp_mult: float | jax.Array,
    step_mult: float | jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Applies the network to every entry.

    Args:
      leaf: the tensor.
      summary: of it.
      from_lstm: what the LSTM says about it.
      iteration: of `iteration_inputs`.
      network: weights.
      exp_mult: factor of the second output.
      step_mult: factor of the step.

    Returns:
      The step, shape S, and what the network says to the LSTM, the mean of its other outputs.
    """
    weights, matrix = dense_weights(network, COLUMNS)
    size = jnp.stack([jnp.log(summary.norm + 1e-8), jnp.float32(math.log(max(leaf.p.size, 1)))])
    constants = jnp.concatenate([iteration, size, from_lstm])
    weights = with_constant_inputs(weights, constants, matrix)

    def finish(direction: jax.Array, magnitude: jax.Array) -> jax.Array:
        return direction * jnp.exp(exp_mult * magnitude) * step_mult

    step, mean_hidden = apply_wide_mlp(_columns, _rows(leaf), summary.scales, weights, 2, finish)
    return step.reshape(leaf.p.shape), mean_outputs(weights, mean_hidden, skip=2)


def _rows(leaf: Leaf) -> list[jax.Array]:
    """One row for each entry of the tensor."""
    averages = [x.reshape(-1, len(DECAYS)) for x in (leaf.m, leaf.rms)]
    return [leaf.p.reshape(-1), leaf.g.reshape(-1), *averages]


def _columns(p: jax.Array, g: jax.Array, m: jax.Array, rms: jax.Array) -> tuple[jax.Array, ...]:
    inverse_root = jax.lax.rsqrt(rms + 1e-6)
    return g, p, jnp.log(jnp.abs(p) + 1e-8), m, rms, m * inverse_root, inverse_root
