"""Sums of many columns in one pass over what they are made of.

Reductions one by one read their inputs again for each column, and XLA on CPUs writes a column to
memory before it reduces it. A single reduction of all columns is one kernel that evaluates them
element by element and keeps nothing but their sums.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

_LEAST_RUN = 64
_LONGEST_RUN = 1 << 14


def sum_columns(columns: Sequence[jax.Array], first: int) -> tuple[jax.Array, ...]:
    """The sums of columns over their axes from `first` on.

    Args:
      columns: floating-point, at least one, all of the same shape and dtype.
      first: number of the first axis to sum over.

    Returns:
      One array for each column, without the axes that were summed over.
    """
    columns = tuple(columns)
    shape = columns[0].shape
    if first >= len(shape):
        return columns
    start = _run_start(shape, first)
    if start is None:
        axes = tuple(range(first, len(shape)))
        return tuple(jnp.sum(column, axis=axes) for column in columns)
    sums = _sum_together(tuple(range(start, len(shape))), columns)
    return sum_columns(sums, first)


def _run_start(shape: tuple[int, ...], first: int) -> int | None:
    """The first axis of the runs of elements that are summed one after the other.

    Runs are so long that their sums take little memory, but not so long that small numbers get lost
    when they are added to large ones. None where there are no such runs.
    """
    start = len(shape) - 1
    while start > first and math.prod(shape[start:]) < _LEAST_RUN:
        start -= 1
    if math.prod(shape[start:]) > _LONGEST_RUN:
        start += 1
    return start if start < len(shape) else None


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _sum_together(axes: tuple[int, ...], columns: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    zeros = tuple(jnp.zeros((), column.dtype) for column in columns)
    return tuple(jax.lax.reduce(columns, zeros, _add, axes))


@_sum_together.defjvp
def _sum_tangents(axes: tuple[int, ...], primals: Any, tangents: Any) -> tuple[Any, Any]:
    # Reductions of several arrays have no derivative of their own.
    moved = tuple(jnp.sum(tangent, axis=axes) for tangent in tangents[0])
    return _sum_together(axes, *primals), moved


def _add(left: tuple[jax.Array, ...], right: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    return tuple(a + b for a, b in zip(left, right, strict=True))
