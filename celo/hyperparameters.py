"""Keywords of a plugin's `build`, as its record (`celo.records`) declares them; no JAX.

Standard library only. To be imported from `celo.records`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Hyperparameter:
    """One keyword of a plugin's `build`.

    Attributes:
      name: the keyword, an identifier.
      type: float, int, bool or str.
      default: value used when it is not given.
      low: smallest allowed value (inclusive), or None.
      high: largest allowed value (inclusive), or None.
      choices: allowed values, for str; empty means any.
      traceable: may be a traced array (so that a grid of values is one vmapped axis).
      help: one line with units.
    """

    name: str
    type: Literal["float", "int", "bool", "str"]
    default: Any
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    traceable: bool = False
    help: str = ""


LEARNING_RATE_SCHEDULE = (
    Hyperparameter(
        "schedule",
        "str",
        "constant",
        choices=("constant", "cosine", "sqrt-decay", "exponential-decay", "piecewise-linear"),
        help="how lr changes during a run",
    ),
    Hyperparameter(
        "warmup_fraction",
        "float",
        0.0,
        low=0.0,
        high=1.0,
        traceable=True,
        help="cosine: part of the run for a ramp from 0",
    ),
    Hyperparameter(
        "constant_fraction",
        "float",
        0.0,
        low=0.0,
        high=1.0,
        traceable=True,
        help="cosine: part of the run before the descent",
    ),
    Hyperparameter(
        "min_learning_rate_mult",
        "float",
        0.0,
        low=0.0,
        traceable=True,
        help="cosine: last value, as a fraction of lr",
    ),
    Hyperparameter(
        "rampup_steps",
        "float",
        1000.0,
        low=1.0,
        traceable=True,
        help="sqrt-decay: steps of the ramp to lr",
    ),
    Hyperparameter(
        "lr_decay",
        "float",
        7e-5,
        low=0.0,
        high=1.0,
        traceable=True,
        help="exponential-decay: fraction lost in a step",
    ),
    Hyperparameter(
        "times",
        "str",
        "10000/20000",
        help="piecewise-linear: steps of the knots",
    ),
    Hyperparameter(
        "factors",
        "str",
        "1/0.1",
        help="piecewise-linear: factors of lr there",
    ),
)
"""What `celo.optim.handcrafted` adds to every optimizer that has a learning rate."""
