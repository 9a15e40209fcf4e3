"""Bridges between optax and `celo.protocol.Optimizer`, in both directions."""

from celo.optim.from_optax import OptaxState, from_optax
from celo.optim.to_optax import to_optax

__all__ = ["OptaxState", "from_optax", "to_optax"]
