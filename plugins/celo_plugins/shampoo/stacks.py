"""The matrices of all axes of all blocks, those of equal size in one stack."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from celo.optim.inverse_root import multiply
from celo_plugins.shampoo.blocks import Blocking, Shape

Blocks = dict[Shape, jax.Array]


class Part(NamedTuple):
    """One axis of all blocks of one shape; its matrices are neighbours in a stack.

    Attributes:
      shape: of the blocks.
      axis: of the blocks.
      blocks: how many.
      first: position of their first matrix in the stack.
    """

    shape: Shape
    axis: int
    blocks: int
    first: int

    def unfold(self, blocks: jax.Array) -> jax.Array:
        """[blocks, *shape] -> [blocks, this axis, the others]."""
        front = jnp.moveaxis(blocks, 1 + self.axis, 1)
        return front.reshape(self.blocks, self.shape[self.axis], -1)

    def fold(self, matrices: jax.Array) -> jax.Array:
        """The inverse of `unfold`."""
        others = self.shape[: self.axis] + self.shape[self.axis + 1 :]
        front = matrices.reshape(self.blocks, self.shape[self.axis], *others)
        return jnp.moveaxis(front, 1, 1 + self.axis)


@dataclasses.dataclass(frozen=True)
class Stack:
    """Matrices [count, size, size], preconditioners of which are powers -1/root.

    Attributes:
      size: rows of a matrix.
      root: twice the rank of the blocks.
      parts: what they belong to, in order.
    """

    size: int
    root: int
    parts: tuple[Part, ...] = ()

    @property
    def count(self) -> int:
        return sum(part.blocks for part in self.parts)

    def identity(self) -> jax.Array:
        """As many identity matrices, float32."""
        one = jnp.eye(self.size, dtype=jnp.float32)
        return jnp.broadcast_to(one, (self.count, self.size, self.size))

    def products(self, blocks: Blocks) -> jax.Array:
        """Second moments G G^T of the unfolded blocks."""
        unfolded = [part.unfold(blocks[part.shape]) for part in self.parts]
        return jnp.concatenate([multiply(u, u.mT) for u in unfolded])


def plan_stacks(blocking: Blocking) -> dict[str, Stack]:
    """The stacks by name; blocks of other rank or other size lie in another one."""
    stacks: dict[str, Stack] = {}
    for shape, regions in blocking.groups.items():
        blocks = sum(region.blocks for region in regions)
        for axis, size in enumerate(shape):
            root = 2 * len(shape)
            name = f"size_{size}_root_{root}"
            stack = stacks.get(name, Stack(size, root))
            part = Part(shape, axis, blocks, first=stack.count)
            stacks[name] = dataclasses.replace(stack, parts=(*stack.parts, part))
    return stacks


def precondition(
    blocks: Blocks, preconditioners: dict[str, jax.Array], stacks: dict[str, Stack]
) -> Blocks:
    """Blocks multiplied along every axis by the matrices of that axis."""
    result = dict(blocks)
    for name, stack in stacks.items():
        for part in stack.parts:
            matrices = preconditioners[name][part.first : part.first + part.blocks]
            unfolded = part.unfold(result[part.shape])
            result[part.shape] = part.fold(multiply(matrices, unfolded))
    return result
