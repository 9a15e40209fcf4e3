"""Memory of an optimizer's state, from shapes alone: nothing is computed. Imports JAX."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from celo.loading import constructor, find

WIDTHS = (3072, *[1024] * 7, 10)
"""Layers of the MLP on whose parameters memory is measured."""


@dataclass(frozen=True)
class Memory:
    """What an optimizer holds.

    Attributes:
      state_bytes_per_parameter: bytes of its state, the parameters not counted.
      tree: on which parameters, in words.
      weights: how many numbers a learned optimizer's theta has; 0 for hand-crafted ones.
    """

    state_bytes_per_parameter: float
    tree: str
    weights: int


def measure_memory(text: str) -> Memory:
    """The memory of an optimizer; weights are not looked for.

    Args:
      text: as everywhere: a name, hyperparameters, modifiers.

    Raises:
      UsageError, BrokenPluginError: it is misspelt, not installed or cannot be used.
    """
    params = {
        f"layer_{i}": {
            "w": jax.ShapeDtypeStruct((a, b), jnp.float32),
            "b": jax.ShapeDtypeStruct((b,), jnp.float32),
        }
        for i, (a, b) in enumerate(zip(WIDTHS[:-1], WIDTHS[1:], strict=True))
    }
    spec, found = find(text)
    built = constructor(spec, found)(**dict(spec.hyperparameters))
    theta = None
    if found.record.kind == "learned":
        theta = jax.eval_shape(built.init, jax.random.PRNGKey(0))

    def init(theta: Any, params: Any) -> Any:
        optimizer = built if theta is None else built.opt_fn(theta)
        return optimizer.init(params, num_steps=1000)

    state = jax.eval_shape(init, theta, params)
    count = _numbers(params)
    layers = f"{WIDTHS[0]}-{WIDTHS[1]}(x{len(WIDTHS) - 2})-{WIDTHS[-1]}"
    return Memory(
        state_bytes_per_parameter=(_bytes(state) - _bytes(params)) / count,
        tree=f"MLP {layers}, {count:,} parameters",
        weights=_numbers(theta),
    )


def _numbers(tree: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def _bytes(tree: Any) -> int:
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))
