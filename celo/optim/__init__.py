"""Bridges between optax and `celo.protocol.Optimizer`, in both directions, and modifiers."""

from celo.optim.from_optax import OptaxState, from_optax
from celo.optim.handcrafted import handcrafted, scheduled
from celo.optim.modifiers import (
    with_accumulate,
    with_clip,
    with_clipnorm,
    with_graft,
    with_l2,
    with_lrmult,
    with_schedule,
    with_skip_nonfinite,
    with_wd,
)
from celo.optim.to_optax import to_optax

__all__ = [
    "OptaxState",
    "from_optax",
    "handcrafted",
    "scheduled",
    "to_optax",
    "with_accumulate",
    "with_clip",
    "with_clipnorm",
    "with_graft",
    "with_l2",
    "with_lrmult",
    "with_schedule",
    "with_skip_nonfinite",
    "with_wd",
]
