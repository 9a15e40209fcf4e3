"""Parameter tensors cut into blocks, and blocks of equal shape stacked across all tensors."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

Shape = tuple[int, ...]


class Piece(NamedTuple):
    """`count` neighbouring intervals of `size` entries of one axis, from `start`."""

    start: int
    count: int
    size: int


class Region(NamedTuple):
    """The part of one tensor that consists of whole blocks of one shape.

    Attributes:
      leaf: index of the tensor.
      pieces: one per axis of the merged tensor.
    """

    leaf: int
    pieces: tuple[Piece, ...]

    @property
    def block_shape(self) -> Shape:
        return tuple(piece.size for piece in self.pieces)

    @property
    def blocks(self) -> int:
        return math.prod(piece.count for piece in self.pieces)


@dataclasses.dataclass(frozen=True)
class Blocking:
    """How tensors are cut; depends on their shapes alone.

    Attributes:
      shapes: of all tensors.
      merged: shapes after merging axes; None for those that are left out.
      groups: block shape -> regions, in the order in which their blocks are stacked.
    """

    shapes: tuple[Shape, ...]
    merged: tuple[Shape | None, ...]
    groups: dict[Shape, tuple[Region, ...]]

    def gather(self, tensors: Sequence[jax.Array]) -> dict[Shape, jax.Array]:
        """Stacks of blocks, block shape S -> [n, *S], of tensors with the shapes of the plan."""
        return {
            shape: jnp.concatenate([_cut(region, self._merge(tensors, region)) for region in group])
            for shape, group in self.groups.items()
        }

    def scatter(self, blocks: dict[Shape, jax.Array]) -> dict[int, jax.Array]:
        """The inverse of `gather`: index -> tensor, without those that are left out."""
        parts: dict[int, dict[tuple[Piece, ...], jax.Array]] = {}
        for shape, group in self.groups.items():
            first = 0
            for region in group:
                stack = blocks[shape][first : first + region.blocks]
                parts.setdefault(region.leaf, {})[region.pieces] = _join(region, stack)
                first += region.blocks
        return {
            leaf: _concatenate(regions, ()).reshape(self.shapes[leaf])
            for leaf, regions in parts.items()
        }

    def _merge(self, tensors: Sequence[jax.Array], region: Region) -> jax.Array:
        merged = self.merged[region.leaf]
        assert merged is not None
        return tensors[region.leaf].reshape(merged)


def plan_blocks(
    shapes: Sequence[Shape], block_size: int, merge_limit: int, largest_axis: int
) -> Blocking:
    """Decides how tensors of these shapes are cut.

    Args:
      shapes: of all tensors.
      block_size: entries of a block along each axis; the last block of an axis may be shorter.
      merge_limit: axes are merged while their product is at most this.
      largest_axis: tensors with a longer axis are left out, as are scalars and empty tensors.
    """
    merged = tuple(
        merge_axes(shape, merge_limit)
        if shape and min(shape) > 0 and max(shape) <= largest_axis
        else None
        for shape in shapes
    )
    groups: dict[Shape, list[Region]] = {}
    for leaf, shape in enumerate(merged):
        axes = [_cut_axis(length, block_size) for length in shape or ()]
        for pieces in itertools.product(*axes) if axes else ():
            region = Region(leaf, pieces)
            groups.setdefault(region.block_shape, []).append(region)
    return Blocking(tuple(shapes), merged, {s: tuple(group) for s, group in groups.items()})


def merge_axes(shape: Shape, limit: int) -> Shape:
    """Merges neighbouring axes, from the left, while their product is at most `limit`.

    Axes of length 1 vanish; if all do, one remains.
    """
    merged: list[int] = []
    product = 1
    for length in shape:
        if product * length <= limit:
            product *= length
        else:
            merged += [product] if product > 1 else []
            product = length
    merged += [product] if product > 1 else []
    return tuple(merged) or (1,)


def _cut_axis(length: int, block_size: int) -> list[Piece]:
    whole, rest = divmod(length, block_size)
    pieces = [Piece(0, whole, block_size)] if whole else []
    return pieces + ([Piece(length - rest, 1, rest)] if rest else [])


def _cut(region: Region, tensor: jax.Array) -> jax.Array:
    """The blocks [n, *block_shape] of a region, in row-major order."""
    part = tensor[tuple(slice(p.start, p.start + p.count * p.size) for p in region.pieces)]
    split = part.reshape([n for piece in region.pieces for n in (piece.count, piece.size)])
    rank = len(region.pieces)
    order = [*range(0, 2 * rank, 2), *range(1, 2 * rank, 2)]
    return split.transpose(order).reshape(region.blocks, *region.block_shape)


def _join(region: Region, stack: jax.Array) -> jax.Array:
    """The inverse of `_cut`."""
    rank = len(region.pieces)
    split = stack.reshape([piece.count for piece in region.pieces] + list(region.block_shape))
    order = [axis for pair in zip(range(rank), range(rank, 2 * rank), strict=True) for axis in pair]
    return split.transpose(order).reshape([piece.count * piece.size for piece in region.pieces])


def _concatenate(
    regions: dict[tuple[Piece, ...], jax.Array], prefix: tuple[Piece, ...]
) -> jax.Array:
    """Puts the regions of one tensor together, those that begin with the pieces `prefix`."""
    if prefix in regions:
        return regions[prefix]
    axis = len(prefix)
    pieces = sorted({p[axis] for p in regions if p[:axis] == prefix})
    parts = [_concatenate(regions, (*prefix, piece)) for piece in pieces]
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=axis)
