"""What is known of a parameter tensor before anything runs: its shape and factored axes."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from celo.protocol import Params, PyTree


@dataclasses.dataclass(frozen=True)
class LeafShape:
    """Static description of one leaf; only this differs between the leaves of a tree.

    Attributes:
      shape: of the leaf.
      d0: axis of the largest dimension, None below rank 2.
      d1: axis of the second largest dimension, None below rank 2.
    """

    shape: tuple[int, ...]
    d0: int | None
    d1: int | None

    @property
    def factored(self) -> bool:
        return self.d0 is not None


@functools.cache
def leaf_shape(shape: tuple[int, ...]) -> LeafShape:
    """Describes a leaf: every leaf of rank >= 2 is factored, whatever its size.

    Axes are sorted by size with a stable sort, so that among equal sizes the later axis counts as
    the larger: (5, 5) has d1 = 0, d0 = 1.
    """
    if len(shape) < 2:
        return LeafShape(shape, None, None)
    d1, d0 = sorted(range(len(shape)), key=shape.__getitem__)[-2:]
    return LeafShape(shape, d0, d1)


_GRADIENT_BOUND = 1000.0


def widen(x: jax.Array) -> jax.Array:
    """float32, unless the array is wider already."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def clip_gradients(grad: Params) -> Params:
    """Clips every element to [-1000, 1000]; at least float32 from here on."""
    return jax.tree.map(lambda g: jnp.clip(widen(g), -_GRADIENT_BOUND, _GRADIENT_BOUND), grad)


def flatten_with(structure: Any, *trees: PyTree) -> list[tuple[Any, ...]]:
    """Walks several trees with the structure of the parameters side by side."""
    return list(zip(*(structure.flatten_up_to(tree) for tree in trees), strict=True))


@functools.partial(jax.jit, static_argnames=("dtype", "without", "count"))
def zeros_alike(
    p: jax.Array, *, dtype: Any = None, without: int | None = None, count: int | None = None
) -> jax.Array:
    """Zeros that are sharded like `p`, under `jit` too, where a constant would be on every device.

    Args:
      p: of any shape.
      dtype: that of `p` if None.
      without: axis that the zeros lack, if any.
      count: size of a trailing axis, which is not sharded; no such axis if None.
    """
    # Two equal branches: shardings follow the dependency, then the compiler drops it.
    zeros = jnp.where(p == p, 0, 0).astype(dtype or p.dtype)
    if without is not None:
        zeros = jnp.sum(zeros, axis=without)
    if count is not None:
        zeros = jnp.broadcast_to(zeros[..., None], (*zeros.shape, count))
    return zeros


_TOGETHER_SIZE = 1 << 20
_PORTION = 64  # leaves


def map_leaves(
    function: Callable[..., Any], leaves: Sequence[tuple[Any, ...]], rows: PyTree = ()
) -> list[Any]:
    """Calls a function once for each leaf, leaves of equal shape together under `vmap`.

    The result is that of a loop; the point is compilation, whose cost is then that of the distinct
    shapes (a transformer of 168 leaves has about a dozen) and a little for each leaf. Leaves of
    more than a million elements go one by one, since putting them side by side copies them.
    Leaves which are sharded alike are put together without communication.

    Args:
      function: pure; all its arguments are trees of arrays.
      leaves: the arguments of each call.
      rows: a tuple of trees of arrays, further arguments: the leading axis is that of the leaves,
        or of size one where all leaves have the same. Taken as they are: cutting an array into
        rows only to stack some of them again is most of what there is to compile otherwise.
    """
    groups: dict[Any, list[int]] = {}
    for i, arguments in enumerate(leaves):
        arrays, structure = jax.tree.flatten(arguments)
        alone = i if any(jnp.size(x) > _TOGETHER_SIZE for x in arrays) else None
        key = (structure, tuple(_kind(x) for x in arrays), alone)
        groups.setdefault(key, []).append(i)
    results: list[Any] = [None] * len(leaves)
    for members in itertools.chain(*(_portions(group) for group in groups.values())):
        chosen = jax.tree.map(lambda x, m=members: _rows(x, m), rows)
        if len(members) == 1:
            row = jax.tree.map(lambda x: x[0], chosen)
            results[members[0]] = function(*leaves[members[0]], *row)
            continue
        together = _in_halves(function, [leaves[i] for i in members], chosen)
        for position, i in enumerate(members):
            results[i] = jax.tree.map(
                lambda x, at=position: jax.lax.index_in_dim(x, at, keepdims=False), together
            )
    return results


def _kind(x: jax.Array) -> tuple[Any, ...]:
    """What arrays must have in common to be stacked; shardings where they belong to the type."""
    aval = getattr(x, "aval", None)
    return jnp.shape(x), jnp.result_type(x), getattr(aval, "sharding", None)


def _portions(group: list[int]) -> list[list[int]]:
    """Cuts a group of leaves into portions of one size, even unless it is one.

    The last leaf stands in for those that are missing from the last portion. XLA compiles equal
    code once, so that further portions cost little, while every further row of a stack is a cut of
    its own.
    """
    if len(group) == 1:
        return [group]
    count = -(-len(group) // _PORTION)
    size = -(-len(group) // (2 * count)) * 2
    padded = group + group[-1:] * (count * size - len(group))
    return [padded[i : i + size] for i in range(0, count * size, size)]


def _in_halves(function: Callable[..., Any], leaves: list[tuple[Any, ...]], rows: PyTree) -> PyTree:
    """The results for an even number of leaves of equal shape, stacked.

    A loop of two turns, half of the leaves in each: XLA would otherwise fuse the whole function
    into the cut that takes one leaf's result out of the stack, once for every leaf.
    """
    half = len(leaves) // 2

    def halves(x: jax.Array) -> jax.Array:
        return x.reshape(2, half, *x.shape[1:])

    def turn(_: None, stacked: tuple[Any, Any]) -> tuple[None, Any]:
        def one(arguments: tuple[Any, ...], own: PyTree) -> Any:
            row = jax.tree.map(lambda x, mine: x[0] if mine is None else mine, rows, own)
            return function(*arguments, *row)

        return None, jax.vmap(one)(*stacked)

    stacked = jax.tree.map(lambda *xs: halves(jnp.stack(xs)), *leaves)
    each = jax.tree.map(lambda x: None if x.shape[0] == 1 else halves(x), rows)
    found = jax.lax.scan(turn, None, (stacked, each))[1]
    return jax.tree.map(lambda x: x.reshape(2 * half, *x.shape[2:]), found)


def _rows(x: jax.Array, members: list[int]) -> jax.Array:
    """The rows of some leaves; the only one there is where all have the same."""
    return x if x.shape[0] == 1 else x[jnp.asarray(members)]
