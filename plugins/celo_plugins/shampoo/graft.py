"""Grafting: the optimizer whose length of step Shampoo borrows, leaf by leaf."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from celo.protocol import Params

NORM_EPSILON = 1e-16
WITHOUT_MEMORY = ("SGD", "SQRT_N")
WITH_MEMORY = ("ADAGRAD", "ADAGRAD_NORMALIZED", "RMSPROP", "RMSPROP_NORMALIZED")
GRAFT_TYPES = WITHOUT_MEMORY + WITH_MEMORY


def init_graft(graft_type: str, params: Params) -> Params:
    """Second moments before the first update: float32 zeros, or () for those without memory."""
    if graft_type in WITHOUT_MEMORY:
        return ()
    return jax.tree.map(lambda p: jnp.zeros_like(p, jnp.float32), params)


def graft(
    graft_type: str,
    grads: Params,
    second_moments: Params,
    b2: float | jax.Array,
    epsilon: float | jax.Array,
) -> tuple[Params, Params]:
    """The direction of the grafted optimizer.

    Args:
      graft_type: one of `GRAFT_TYPES`; those that end in NORMALIZED divide each leaf of the
        gradient by its norm first, SQRT_N takes the sign.
      grads: tree of float32 arrays.
      second_moments: as from `init_graft`.
      b2: decay of the second moments of RMSProp; Adagrad has none.
      epsilon: added to their root.

    Returns:
      (direction, new second moments).
    """
    if graft_type == "SGD":
        return grads, second_moments
    if graft_type == "SQRT_N":
        return jax.tree.map(jnp.sign, grads), second_moments
    if graft_type.endswith("_NORMALIZED"):
        grads = jax.tree.map(lambda g: g / (jnp.linalg.norm(g) + NORM_EPSILON), grads)
    old, new = (b2, 1 - b2) if graft_type.startswith("RMSPROP") else (1.0, 1.0)
    moments = jax.tree.map(lambda d, g: old * d + new * g**2, second_moments, grads)
    return jax.tree.map(lambda d, g: g / (jnp.sqrt(d) + epsilon), moments, grads), moments


def with_norm_of(source: jax.Array, target: jax.Array) -> jax.Array:
    """`target`, as long as `source` (norms over the whole leaf)."""
    return target * (jnp.linalg.norm(source) / (jnp.linalg.norm(target) + NORM_EPSILON))
