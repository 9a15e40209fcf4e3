"""A small network applied to every parameter: the hot path of most learned optimizers.

A stacked feature array would be thirty times the parameters. Instead there are two passes over
the columns (`celo.lopt.features`), each of which XLA makes one kernel: the first takes the mean
squares of all of them at once (`celo.lopt.sums`); the second folds their inverse roots into the
first layer's weights and evaluates the network with every layer unrolled over its units,
elementwise. Neither keeps a column or a unit in memory. Row- and column-only columns are small:
they meet their weights in matrix products, whose results are broadcast-added.

What is left to pay is compilation. The statistics of all columns are one vector, and `map_leaves`
evaluates leaves of equal shape together.

Unrolling suits the narrow networks of Celo, VeLO and Adafactor-MLP (4 to 8 units). Inputs which are
the same for the whole leaf (such as a step count) need no column: `with_constant_inputs`. Networks
of more units are evaluated by `celo.lopt.wide_mlp`.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp

from celo.lopt.features import Blocks, leaf_of, split_columns
from celo.lopt.sums import sum_columns
from celo.protocol import PyTree


class MlpWeights(NamedTuple):
    """Weights of one per-parameter network.

    Attributes:
      first: (columns, units), the matrices of all blocks one below the other.
      first_bias: (units,).
      layers: the following layers, (matrix, bias) each.
    """

    first: jax.Array
    first_bias: jax.Array
    layers: tuple[tuple[jax.Array, jax.Array], ...]


def mlp_network(block_widths: Sequence[int], hidden: Sequence[int], outputs: int) -> hk.Transformed:
    """The parameters of the network, by the names and in the creation order of published weights.

    First layer `w0__i` for each block and `b0`, then `w1`, `b1`, ...; created outside any module,
    hence below the key `~`. Only for `init`; the network is applied by `apply_mlp`.
    """

    def create() -> None:
        # Each block is scaled by the width of all inputs together.
        for i, width in enumerate(block_widths):
            _matrix(f"w0__{i}", (width, hidden[0]), fan_in=sum(block_widths))
        _bias("b0", hidden[0])
        sizes = (*hidden, outputs)
        for i in range(1, len(sizes)):
            _matrix(f"w{i}", (sizes[i - 1], sizes[i]), fan_in=sizes[i - 1])
            _bias(f"b{i}", sizes[i])

    return hk.transform(create)


def _matrix(name: str, shape: tuple[int, int], fan_in: int) -> None:
    hk.get_parameter(name, shape, init=hk.initializers.TruncatedNormal(1.0 / math.sqrt(fan_in)))


def _bias(name: str, size: int) -> None:
    hk.get_parameter(name, (size,), init=hk.initializers.Constant(0.0))


def mlp_weights(tree: PyTree, blocks: int) -> MlpWeights:
    """Reads the first `blocks` blocks of the tree of `mlp_network`.

    The arrays may have further leading axes, such as the copies that `interpolate` mixes.
    """
    arrays = tree["~"]
    depth = sum(name.startswith("b") for name in arrays)
    return MlpWeights(
        first=jnp.concatenate([arrays[f"w0__{i}"] for i in range(blocks)], axis=-2),
        first_bias=arrays["b0"],
        layers=tuple((arrays[f"w{i}"], arrays[f"b{i}"]) for i in range(1, depth)),
    )


def with_constant_inputs(
    weights: MlpWeights, constants: jax.Array, matrix: jax.Array
) -> MlpWeights:
    """Adds inputs that all parameters of a leaf share to the first bias.

    Args:
      weights: of the columns.
      constants: (inputs,).
      matrix: (inputs, units), their rows of the first layer.
    """
    shared = jnp.matmul(constants, matrix, precision=jax.lax.Precision.HIGHEST)
    return weights._replace(first_bias=weights.first_bias + shared)


def interpolate(stack: MlpWeights, controls: jax.Array) -> MlpWeights:
    """The weights of each leaf: the *mean* over copies of control times copy.

    A mean, not a sum, although controls may already sum to one: published weights expect 1/copies.

    Args:
      stack: arrays with a leading axis of copies.
      controls: float32 (leaves, copies).

    Returns:
      Arrays with a leading axis of leaves.
    """
    copies = controls.shape[1]

    def mix(array: jax.Array) -> jax.Array:
        product = jnp.tensordot(controls, array, axes=1, precision=jax.lax.Precision.HIGHEST)
        return product / copies

    return jax.tree.map(mix, stack)


def mean_squares(squares: Blocks, *, first: int = 0) -> jax.Array:
    """The mean square of each column over axes of the leaf.

    Args:
      squares: of the columns.
      first: the mean is over the axes of the leaf from this one on.

    Returns:
      The leaf's rank plus one: size 1 along the axes averaged over, the columns of all blocks along
      the last axis.
    """
    shape = leaf_of(squares)
    axes = tuple(range(first, len(shape)))
    count = max(math.prod(shape[first:]), 1)
    full, small = _columns(squares)
    sums = sum_columns([column for _, column in full], first)
    parts = [([k for k, _ in full], jnp.expand_dims(jnp.stack(sums, axis=-1) / count, axes))]
    parts += [(numbers, jnp.mean(columns, axis=axes, keepdims=True)) for numbers, columns in small]
    # Columns that are constant along an axis which is not averaged lack only broadcasting.
    common = jnp.broadcast_shapes(*(means.shape[:-1] for _, means in parts))
    return _in_order(
        [(k, jnp.broadcast_to(means, (*common, means.shape[-1]))) for k, means in parts]
    )


def _in_order(parts: list[tuple[list[int], jax.Array]]) -> jax.Array:
    """Joins parts along the last axis, in the order of the numbers of their columns."""
    pieces = []
    for numbers, columns in parts:
        starts = [i for i, k in enumerate(numbers) if i == 0 or numbers[i - 1] != k - 1]
        for start, end in itertools.pairwise([*starts, len(numbers)]):
            pieces.append((numbers[start], columns[..., start:end]))
    return jnp.concatenate([piece for _, piece in sorted(pieces, key=lambda x: x[0])], axis=-1)


def column_scales(means: jax.Array, *, eps: float) -> jax.Array:
    """What brings each column to mean square one: rsqrt(eps + mean square)."""
    return jax.lax.rsqrt(eps + means)


def apply_mlp(
    blocks: Blocks, scales: jax.Array, weights: MlpWeights, outputs: Sequence[int]
) -> tuple[jax.Array, ...]:
    """Evaluates the network (ReLU between layers, none at the end) on every parameter of a leaf.

    Args:
      blocks: input columns.
      scales: a factor for each column, of `column_scales`.
      weights: of this leaf.
      outputs: numbers of the outputs that are needed; the others are not computed.

    Returns:
      One array of the leaf's shape for each of `outputs`.
    """
    units = _first_layer(blocks, scales, weights)
    last = len(weights.layers) - 1
    for i, (matrix, bias) in enumerate(weights.layers):
        inputs = [jax.nn.relu(unit) for unit in units]
        wanted = outputs if i == last else range(bias.shape[0])
        units = [
            _sum(x * _entry(matrix, j, unit) for j, x in enumerate(inputs)) + _entry(bias, unit)
            for unit in wanted
        ]
    return tuple(units)


def _first_layer(blocks: Blocks, scales: jax.Array, weights: MlpWeights) -> list[jax.Array]:
    """The weighted sum of all columns for each unit, scales folded into the weights."""
    folded = scales[..., None] * weights.first
    full, small = _columns(blocks)
    parts = []
    for numbers, columns in small:
        rows = jnp.stack([folded[..., k, :] for k in numbers], axis=-2)
        parts.append(_small_part(columns, rows))
    return [
        _sum(
            [column * folded[..., k, unit] for k, column in full]
            + [part[..., unit] for part in parts]
            + [_entry(weights.first_bias, unit)]
        )
        for unit in range(weights.first_bias.shape[0])
    ]


def _small_part(columns: jax.Array, rows: jax.Array) -> jax.Array:
    """What small columns add to each unit, (..., columns) to (..., units)."""
    if math.prod(rows.shape[:-2]) == 1:
        matrix = rows.reshape(rows.shape[-2:])
        return jnp.matmul(columns, matrix, precision=jax.lax.Precision.HIGHEST)
    return jnp.sum(columns[..., None] * rows, axis=-2)


class _Columns(NamedTuple):
    """Columns with their running numbers: those of leaf size one by one, the small ones stacked."""

    full: list[tuple[int, jax.Array]]
    small: list[tuple[list[int], jax.Array]]


def _columns(blocks: Blocks) -> _Columns:
    leaf = leaf_of(blocks)
    full: list[tuple[int, jax.Array]] = []
    together: dict[tuple[int, ...], list[tuple[list[int], jax.Array]]] = {}
    at = 0
    for block in blocks:
        if isinstance(block, tuple) or block.shape[:-1] == leaf:
            columns = split_columns(block)
            full += enumerate(columns, at)
            at += len(columns)
        else:
            *shape, width = block.shape
            numbers = list(range(at, at + width))
            together.setdefault(tuple(shape), []).append((numbers, block))
            at += width
    small = [
        (
            sum((numbers for numbers, _ in group), []),
            jnp.concatenate([b for _, b in group], axis=-1),
        )
        for group in together.values()
    ]
    return _Columns(full, small)


def _sum(terms: Iterable[jax.Array]) -> jax.Array:
    return functools.reduce(jnp.add, terms)


def _entry(array: jax.Array, *index: int) -> jax.Array:
    # A plain slice: cheaper to trace than general indexing, and there are hundreds of these.
    entry = jax.lax.slice(array, index, tuple(i + 1 for i in index))
    return jax.lax.squeeze(entry, range(array.ndim))
