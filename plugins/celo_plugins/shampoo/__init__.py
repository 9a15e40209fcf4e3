"""Shampoo, as an optax transformation and as an optimizer."""

from __future__ import annotations

from typing import Any

from celo.optim import from_optax
from celo.protocol import Optimizer
from celo_plugins.shampoo.transformation import (
    Number,
    ShampooConfig,
    ShampooState,
    scale_by_shampoo,
    shampoo,
)

__all__ = ["ShampooConfig", "ShampooState", "build", "scale_by_shampoo", "shampoo"]


def build(lr: Number = 1e-3, **config: Any) -> Optimizer:
    """Shampoo.

    Args:
      lr: learning rate.
      **config: fields of `ShampooConfig`.
    """
    return from_optax(shampoo(lr, ShampooConfig(**config)), name="Shampoo")
