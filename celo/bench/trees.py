"""Trees of parameters to measure updates on."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

MLP = (3072, *[1024] * 7, 10)
"""9,454,602 parameters in nine large matrices and nine biases: what the cost tables use."""


def mlp_parameters(widths: tuple[int, ...], copies: int | None = None) -> Any:
    """Parameters of an MLP, {"layer_i": {"w": float32 [in, out], "b": float32 [out]}}.

    Args:
      widths: of inputs, hidden layers and outputs.
      copies: so many of them side by side, along a leading axis; None for one without that axis.
    """
    keys = jax.random.split(jax.random.PRNGKey(0), len(widths))
    lead = () if copies is None else (copies,)
    return {
        f"layer_{i}": {
            "w": jax.random.normal(keys[i], (*lead, a, b)) / a**0.5,
            "b": jnp.zeros((*lead, b)),
        }
        for i, (a, b) in enumerate(zip(widths[:-1], widths[1:], strict=True))
    }


def widths_for(count: int) -> tuple[int, ...]:
    """Widths of an MLP of eight equal layers with about `count` parameters."""
    return (max(1, round((count / 8) ** 0.5)),) * 9


def tree_of_a_hundred_leaves() -> Any:
    """Shapes of twelve transformer blocks of eight leaves, and of four leaves around them."""
    shapes = {"qkv": (64, 192), "out": (64, 64), "up": (64, 256), "down": (256, 64)}
    block = {name: {"w": s, "b": s[1:]} for name, s in shapes.items()}
    tree: dict[str, Any] = {f"block_{i:02d}": block for i in range(12)}
    tree["around"] = {"embed": (100, 64), "head": (64, 100), "scale": (64,), "shift": (64,)}
    return jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32),
        tree,
        is_leaf=lambda node: isinstance(node, tuple),
    )
