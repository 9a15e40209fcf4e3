"""NN-Adam on one tensor: its hyperparameters, Adam's step, and what the LSTM sees."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from celo.lopt.tensor_lstm import log_magnitude

SUMMARIES = 15
LSTM_INPUTS = SUMMARIES + 4


class AdamValues(NamedTuple):
    """The four hyperparameters, encoded or decoded, in the order of the LSTM's outputs.

    Encoded are a tenth of the logarithms of lr, 1 - beta1, 1 - beta2 and epsilon.
    """

    lr: jax.Array
    beta1: jax.Array
    beta2: jax.Array
    epsilon: jax.Array


class Tensor(NamedTuple):
    """A tensor and its moments, all of one shape, float32.

    Attributes:
      p: parameters before the update.
      g: clipped gradient.
      m: momentum.
      rms: second moment.
    """

    p: jax.Array
    g: jax.Array
    m: jax.Array
    rms: jax.Array


def decode(encoded: AdamValues) -> AdamValues:
    """The hyperparameters themselves, within their bounds."""
    return AdamValues(
        lr=jnp.clip(jnp.exp(10 * encoded.lr), 1e-8, 1e3),
        beta1=_decode_beta(encoded.beta1),
        beta2=_decode_beta(encoded.beta2),
        epsilon=jnp.clip(jnp.exp(10 * encoded.epsilon), 1e-11, 1e4),
    )


def encode(values: AdamValues) -> AdamValues:
    """What `decode` undoes. Near beta = 1, 1 - beta has few digits; published states show it."""
    return AdamValues(
        lr=0.1 * jnp.log(values.lr),
        beta1=0.1 * jnp.log(1 - values.beta1),
        beta2=0.1 * jnp.log(1 - values.beta2),
        epsilon=0.1 * jnp.log(values.epsilon),
    )


def _decode_beta(encoded: jax.Array) -> jax.Array:
    return 1 - jnp.exp(jnp.clip(10 * encoded, -10, 0))


def adam_tensor(old: Tensor, values: AdamValues) -> tuple[Tensor, jax.Array]:
    """Adam without bias correction.

    Args:
      old: with the moments before the update.
      values: decoded, scalars.

    Returns:
      The tensor with its new moments, and the new parameters.
    """
    m = values.beta1 * old.m + (1 - values.beta1) * old.g
    rms = values.beta2 * old.rms + (1 - values.beta2) * jnp.square(old.g)
    root = values.epsilon + jnp.sqrt(rms + 1e-10)
    step = values.lr * (1 + values.epsilon) / root * m
    return old._replace(m=m, rms=rms), old.p - step


def tensor_features(tensor: Tensor) -> jax.Array:
    """Rank, means with their signs, and variances, float32 (15,).

    The order is that of the LSTM's inputs: two about the rank, nine means, four variances.
    """
    p, g, m, rms = tensor
    features = [
        jnp.float32(1.0 if p.ndim == 1 else -1.0),
        jnp.float32(1.0 if p.ndim == 0 else -1.0),
        *_mean_and_sign(g),
        _log(_mean(jnp.abs(g))),
        *_mean_and_sign(m),
        *_mean_and_sign(p),
        *_mean_and_sign(rms),
        *(_log(_mean(jnp.square(x - _mean(x)))) for x in (g, m, p, rms)),
    ]
    return jnp.stack(features)


def lstm_inputs(encoded: AdamValues, features: jax.Array) -> jax.Array:
    """All inputs of the LSTM, (leaves, 19).

    Args:
      encoded: (leaves,) each.
      features: (leaves, 15), of `tensor_features`.
    """
    lr, beta1, beta2, epsilon = (0.2 * jnp.clip(x, -5, 5)[:, None] for x in encoded)
    rank, rest = features[:, :2], features[:, 2:]
    return jnp.concatenate([beta1, beta2, epsilon, rank, lr, rest], axis=-1)


def _mean_and_sign(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    mean = _mean(x)
    return _log(mean), jnp.sign(mean)


def _mean(x: jax.Array) -> jax.Array:
    """Zero, not NaN, for an empty tensor."""
    return jnp.mean(x) if x.size else jnp.sum(x)


def _log(x: jax.Array) -> jax.Array:
    return 0.5 * log_magnitude(x)
