"""The inputs of per-parameter networks, as blocks of columns.

A *column* is one number a parameter. Columns of one kind form a *block*, which has its own matrix
in the first layer: an array that broadcasts to the leaf's shape, with its columns on a trailing
axis. Row- and column-only features have a 1 where they are constant and stay small.

Blocks are expressions, not buffers: `celo.lopt.perparam_mlp` takes the columns of large leaves one
by one, and no array of leaf size times columns ever exists.

The fourteen blocks of Celo and VeLO are `gradient_blocks` followed by `factored_blocks`; other
optimizers compose the same pieces differently.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from celo.lopt.accumulators import FactoredLeaf, factored_columns, factored_scales
from celo.lopt.leaves import leaf_shape

Blocks = tuple[jax.Array, ...]

GRADIENT_WIDTHS = (1, 1, 1, 3, 1, 3, 1, 3, 1)
FACTORED_WIDTHS = (3, 3, 3, 3, 3)
BLOCK_WIDTHS = GRADIENT_WIDTHS + FACTORED_WIDTHS
"""Columns in each of the fourteen blocks (three momentum, one second-moment, three factored)."""


def gradient_blocks(
    p: jax.Array,
    g: jax.Array,
    m: jax.Array,
    rms: jax.Array,
    v: FactoredLeaf,
    *,
    rms_eps: float,
) -> Blocks:
    """Blocks 0 to 8: g, clipped g, p, m, rms, m/sqrt, 1/sqrt, factored-normalised g, g/sqrt.

    Args:
      p: parameters before the update, shape S, float32.
      g: clipped gradient, shape S, float32.
      m: updated momenta, S + (momentum decays,), float32.
      rms: updated second moment, S + (1,), float32.
      v: updated factored accumulators of the leaf.
      rms_eps: added to `rms` under the root.
    """
    g = g[..., None]
    inverse_root = jax.lax.rsqrt(rms + rms_eps)
    return (
        g,
        jnp.clip(g, -0.1, 0.1),
        p[..., None],
        m,
        rms,
        m * inverse_root,
        inverse_root,
        _product(g, factored_scales(v, leaf_shape(p.shape))),
        g * inverse_root,
    )


def factored_blocks(
    m: jax.Array, v: FactoredLeaf, shape: tuple[int, ...], *, diagonal_eps: float = 0.0
) -> Blocks:
    """Blocks 9 to 13: rows, columns, their inverse roots, factored-normalised momenta.

    Leaves of rank 0 and 1 have the same numbers in 9 and 10 and in 11 and 12 (with weights of their
    own), and block 13 divides by the root of `v_diag`, most often without any epsilon.

    Args:
      m: updated momenta, S + (decays,), float32.
      v: updated factored accumulators of the leaf, as many decays.
      shape: S.
      diagonal_eps: added to `v_diag` under the root of block 13.
    """
    leaf = leaf_shape(shape)
    row, col = factored_columns(v, leaf)
    if leaf.factored:
        scales = factored_scales(v, leaf)
    else:
        scales = (jax.lax.rsqrt(v.v_diag + diagonal_eps),)
    return (
        row,
        col,
        jax.lax.rsqrt(row + 1e-8),
        jax.lax.rsqrt(col + 1e-8),
        _product(m, scales),
    )


def stack_columns(blocks: Blocks, shape: tuple[int, ...]) -> jax.Array:
    """All columns as one array, shape + (columns,). For small leaves, inspection and tests."""
    return jnp.concatenate(
        [jnp.broadcast_to(block, (*shape, block.shape[-1])) for block in blocks], axis=-1
    )


def _product(x: jax.Array, factors: tuple[jax.Array, ...]) -> jax.Array:
    for factor in factors:
        x = x * factor
    return x
