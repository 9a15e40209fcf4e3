"""The inputs of per-parameter networks, as blocks of columns.

A *column* is one number a parameter. Columns of one kind form a *block*, which has its own matrix
in the first layer. Columns of the leaf's size come one by one, those which are constant along an
axis have a 1 there and stay small.

Blocks are expressions, not buffers: `celo.lopt.perparam_mlp` takes the columns of the leaf's size
one by one, and no array of leaf size times columns ever exists. What normalises them are means of
their squares, which are built as products of squares: no root of leaf size is shared between
the two, since XLA does not compute such a thing twice but keeps it in memory.

The fourteen blocks of Celo and VeLO are `gradient_blocks` followed by `factored_blocks`; other
optimizers compose the same pieces differently.
"""

from __future__ import annotations

import functools
from typing import TypeAlias

import jax
import jax.numpy as jnp

from celo.lopt.accumulators import FactoredLeaf, factored_columns, factored_scales
from celo.lopt.leaves import leaf_shape

Block: TypeAlias = jax.Array | tuple[jax.Array, ...]
"""Columns on a trailing axis, each of which broadcasts to the leaf, or one by one."""

Blocks: TypeAlias = tuple[Block, ...]

_CLIP = 0.1

GRADIENT_WIDTHS = (1, 1, 1, 3, 1, 3, 1, 3, 1)
FACTORED_WIDTHS = (3, 3, 3, 3, 3)
BLOCK_WIDTHS = GRADIENT_WIDTHS + FACTORED_WIDTHS
"""Columns in each of the fourteen blocks (three momentum, one second-moment, three factored)."""

PARAMETER = 2
"""The column that is the parameter itself."""


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
    return _gradient_products(
        p,
        g,
        jnp.clip(g, -_CLIP, _CLIP),
        split_columns(m),
        rms[..., 0],
        jax.lax.rsqrt(rms[..., 0] + rms_eps),
        factored_scales(v, leaf_shape(p.shape)),
    )


def gradient_squares(
    p: jax.Array,
    g: jax.Array,
    m: jax.Array,
    rms: jax.Array,
    v: FactoredLeaf,
    *,
    rms_eps: float,
) -> Blocks:
    """The squares of `gradient_blocks`."""
    squared = jnp.square(g)
    return _gradient_products(
        jnp.square(p),
        squared,
        jnp.minimum(squared, _CLIP**2),
        tuple(map(jnp.square, split_columns(m))),
        jnp.square(rms[..., 0]),
        1 / (rms[..., 0] + rms_eps),
        tuple(map(jnp.square, factored_scales(v, leaf_shape(p.shape)))),
    )


def _gradient_products(
    p: jax.Array,
    g: jax.Array,
    clipped: jax.Array,
    m: tuple[jax.Array, ...],
    rms: jax.Array,
    inverse_root: jax.Array,
    scales: tuple[jax.Array, ...],
) -> Blocks:
    decays = scales[0].shape[-1]
    return (
        (g,),
        (clipped,),
        (p,),
        m,
        (rms,),
        tuple(x * inverse_root for x in m),
        (inverse_root,),
        _scaled((g,) * decays, scales),
        (g * inverse_root,),
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
    scales = _momentum_scales(v, shape, diagonal_eps)
    return (*_averages(v, shape), _scaled(split_columns(m), scales))


def factored_squares(
    m: jax.Array, v: FactoredLeaf, shape: tuple[int, ...], *, diagonal_eps: float = 0.0
) -> Blocks:
    """The squares of `factored_blocks`."""
    scales = tuple(map(jnp.square, _momentum_scales(v, shape, diagonal_eps)))
    momenta = tuple(map(jnp.square, split_columns(m)))
    return (*map(jnp.square, _averages(v, shape)), _scaled(momenta, scales))


def _averages(v: FactoredLeaf, shape: tuple[int, ...]) -> tuple[jax.Array, ...]:
    row, col = factored_columns(v, leaf_shape(shape))
    return row, col, jax.lax.rsqrt(row + 1e-8), jax.lax.rsqrt(col + 1e-8)


def _momentum_scales(
    v: FactoredLeaf, shape: tuple[int, ...], diagonal_eps: float
) -> tuple[jax.Array, ...]:
    leaf = leaf_shape(shape)
    if leaf.factored:
        return factored_scales(v, leaf)
    return (jax.lax.rsqrt(v.v_diag + diagonal_eps),)


def _scaled(
    columns: tuple[jax.Array, ...], factors: tuple[jax.Array, ...]
) -> tuple[jax.Array, ...]:
    """Each column times its column of all factors."""
    split = [split_columns(factor) for factor in factors]
    return tuple(
        functools.reduce(jnp.multiply, own, x) for x, *own in zip(columns, *split, strict=True)
    )


def split_columns(block: Block) -> tuple[jax.Array, ...]:
    """The columns one by one, without the trailing axis."""
    if isinstance(block, tuple):
        return block
    last = block.ndim - 1
    return tuple(
        jax.lax.index_in_dim(block, k, axis=last, keepdims=False) for k in range(block.shape[-1])
    )


def leaf_of(blocks: Blocks) -> tuple[int, ...]:
    """The shape that all columns broadcast to."""
    shapes = (b[0].shape if isinstance(b, tuple) else b.shape[:-1] for b in blocks)
    return jnp.broadcast_shapes(*shapes)


def stack_columns(blocks: Blocks, shape: tuple[int, ...]) -> jax.Array:
    """All columns as one array, shape + (columns,). For inspection and tests."""
    columns = [jnp.broadcast_to(x, shape) for block in blocks for x in split_columns(block)]
    return jnp.stack(columns, axis=-1)
