"""Activations and normalisations that several families choose by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import haiku as hk
import jax
import jax.numpy as jnp

from celo.tasks.image_task import StateKind

Activation = Literal["relu", "tanh"]
Norm = Literal["none", "layer", "batch"]

ACTIVATIONS: dict[Activation, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
}


def normalized(features: jax.Array, norm: Norm) -> jax.Array:
    """Features [..., channels] normalised, with learned scale and offset; in a Haiku transform.

    LayerNorm works over the channels; BatchNorm over all other axes, always with the statistics of
    the batch at hand, in evaluation too. Its moving averages only live in the model state.
    """
    if norm == "layer":
        return hk.LayerNorm(axis=-1, create_scale=True, create_offset=True, eps=1e-5)(features)
    if norm == "batch":
        return BatchNorm()(features)
    return features


class BatchNorm(hk.BatchNorm):
    """`hk.BatchNorm` as the reference configures it, always in training mode."""

    def __init__(self, name: str | None = None):
        """Takes the name of the module."""
        super().__init__(True, True, decay_rate=0.9, eps=1e-5, name=name)

    def __call__(self, features: jax.Array) -> jax.Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().__call__(features, is_training=True)


def drawn_zeros(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Zeros [*shape] that no compiler knows to be zeros.

    XLA on the CPU (jaxlib 0.10.2) computes `jnp.sum(x, 1) @ constant` as NaN within one program:
    what happens where initial zeros of a last layer are used in the program that makes them.
    """
    return 0.0 * jax.random.normal(key, shape)


def state_kind(norm: Norm, without: StateKind) -> StateKind:
    """The model state of a network with this norm.

    Args:
      norm: of its layers.
      without: what the reference's class has where no statistics are kept.
    """
    return "statistics" if norm == "batch" else without
