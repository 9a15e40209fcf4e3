"""What is known of a parameter tensor before anything runs: its path, shape and factored axes."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from celo.errors import UsageError
from celo.protocol import Params, PyTree

PATH_SEPARATOR = "|"


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


_TOGETHER_SIZE = 1 << 20


def map_leaves(function: Callable[..., jax.Array], leaves: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Calls a function once for each leaf, leaves of equal shape together under `vmap`.

    The result is that of a loop; the point is compilation, whose cost is then that of the distinct
    shapes (a transformer of 168 leaves has about a dozen). Leaves of more than a million elements
    go one by one, since putting them side by side copies them.

    Args:
      function: pure; all its arguments are trees of arrays.
      leaves: the arguments of each call.
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
            results[members[0]] = function(*leaves[members[0]])
            continue
        stacked = jax.tree.map(lambda *xs: jnp.stack(xs), *(leaves[i] for i in members))
        together = jax.vmap(function)(*stacked)
        for position, i in enumerate(members):
            results[i] = jax.tree.map(lambda x, at=position: x[at], together)
    return results


def path_string(path: tuple[Any, ...]) -> str:
    """Writes a key path of `jax.tree_util` as in the published files: levels joined by `|`.

    Dictionary keys keep their own slashes; fields of records and named tuples go by name,
    elements of sequences by position.
    """
    return PATH_SEPARATOR.join(_level(entry) for entry in path)


def named_leaves(tree: PyTree) -> dict[str, Any]:
    """The leaves of a tree by path string, in flattening order."""
    return {path_string(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _level(entry: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(entry, attribute):
            return str(getattr(entry, attribute))
    return str(entry)


def check_float_leaves(params: Params, optimizer: str) -> None:
    """Refuses parameters which have no gradient.

    Raises:
      UsageError: a leaf is no array of real floating-point numbers.
    """
    for path, leaf in named_leaves(params).items():
        dtype = jnp.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise UsageError(
                f"{optimizer} trains floating-point parameters, but {path or 'params'} is {dtype}",
                hint="Keep other arrays in model_state, or convert them.",
            )


def check_gradients(params: Params, grad: Params, optimizer: str) -> None:
    """Refuses gradients that do not belong to the parameters; runs while tracing.

    Raises:
      UsageError: a leaf is missing, is one too many, or has another shape; its path is named.
    """
    expected = {path: jnp.shape(leaf) for path, leaf in named_leaves(params).items()}
    found = {path: jnp.shape(leaf) for path, leaf in named_leaves(grad).items()}
    hint = "Pass the gradient of the loss with respect to the parameters in the optimizer state."
    for path, shape in expected.items():
        if path not in found:
            raise UsageError(f"{optimizer}: the gradient has no leaf {path!r}", hint=hint)
        if found[path] != shape:
            raise UsageError(
                f"{optimizer}: the gradient of {path!r} has shape {found[path]}, "
                f"the parameter {shape}",
                hint=hint,
            )
    for path in found:
        if path not in expected:
            raise UsageError(
                f"{optimizer}: the gradient has a leaf {path!r} that the parameters lack", hint=hint
            )
    if jax.tree.structure(params) != jax.tree.structure(grad):
        raise UsageError(
            f"{optimizer}: the gradient has the leaves of the parameters in other containers "
            f"({jax.tree.structure(grad)} instead of {jax.tree.structure(params)})",
            hint=hint,
        )
