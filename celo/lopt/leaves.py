"""What is known of a parameter tensor before anything runs: its shape and factored axes."""

from __future__ import annotations

import dataclasses
import functools
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

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape without its largest axis (that of `v_row`); rank >= 2 only."""
        return _without(self.shape, self.d0)

    @property
    def col_shape(self) -> tuple[int, ...]:
        """The shape without its second largest axis (that of `v_col`); rank >= 2 only."""
        return _without(self.shape, self.d1)


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


def _without(shape: tuple[int, ...], axis: int | None) -> tuple[int, ...]:
    assert axis is not None, "only leaves of rank >= 2 are factored"
    return shape[:axis] + shape[axis + 1 :]


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


_TOGETHER_SIZE = 1 << 20


def map_leaves(
    function: Callable[..., Any], leaves: Sequence[tuple[Any, ...]], rows: PyTree = ()
) -> list[Any]:
    """Calls a function once for each leaf, leaves of equal shape together under `vmap`.

    The result is that of a loop; the point is compilation, whose cost is then that of the distinct
    shapes (a transformer of 168 leaves has about a dozen). Leaves of more than a million elements
    go one by one, since putting them side by side copies them.

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
        key = (structure, tuple((jnp.shape(x), jnp.result_type(x)) for x in arrays), alone)
        groups.setdefault(key, []).append(i)
    results: list[Any] = [None] * len(leaves)
    for members in groups.values():
        if len(members) == 1:
            chosen = jax.tree.map(lambda x, m=members: _rows(x, m)[0], rows)
            results[members[0]] = function(*leaves[members[0]], *chosen)
            continue
        stacked = jax.tree.map(lambda *xs: jnp.stack(xs), *(leaves[i] for i in members))
        chosen = jax.tree.map(lambda x, m=members: _rows(x, m), rows)
        axes = jax.tree.map(lambda x: None if x.shape[0] == 1 else 0, chosen)
        chosen = jax.tree.map(lambda x: x[0] if x.shape[0] == 1 else x, chosen)
        together = jax.vmap(function, in_axes=(*(0 for _ in stacked), *axes))(*stacked, *chosen)
        for position, i in enumerate(members):
            results[i] = jax.tree.map(lambda x, at=position: x[at], together)
    return results


def _rows(x: jax.Array, members: list[int]) -> jax.Array:
    """The rows of some leaves; the only one there is where all have the same."""
    return x if x.shape[0] == 1 else x[jnp.asarray(members)]
