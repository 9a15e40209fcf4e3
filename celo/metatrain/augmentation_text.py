"""How `--aug` is written: `global:0.001:1000`, `tensor`, `parameter:0.1:10`, `list`, `none`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from celo.errors import UsageError

Level = Literal["global", "tensor", "parameter", "list"]

NONE, GLOBAL, TENSOR, PARAMETER = range(4)
LIST_LEVELS = (NONE, NONE, GLOBAL, GLOBAL, TENSOR, TENSOR, PARAMETER)
"""What level `list` draws from."""
LIST_RANGES = ((1e-3, 1e3), (1e-2, 1e2), (0.1, 10.0))
"""The ranges it draws from."""

_HINT = "expected none, list, or global, tensor or parameter, with a range: global:0.001:1000"


@dataclass(frozen=True)
class Augmentation:
    """Random scales of parameters, log-uniform.

    Attributes:
      level: one scale for all, for each tensor or for each parameter; "list" draws level and range.
      low: smallest scale.
      high: largest scale.
    """

    level: Level
    low: float = 0.001
    high: float = 1000.0

    @property
    def text(self) -> str:
        return "list" if self.level == "list" else f"{self.level}:{self.low:g}:{self.high:g}"


def parse_augmentation(text: str) -> Augmentation | None:
    """Reads `LEVEL[:LOW:HIGH]`; None for `none`.

    Raises:
      UsageError: another level, or a range that is none.
    """
    level, *ends = text.strip().lower().split(":")
    if level == "none" and not ends:
        return None
    if level not in get_args(Level) or (level == "list" and ends):
        raise UsageError(f"unknown augmentation {text!r}", hint=_HINT)
    if not ends:
        return Augmentation(level)  # pyright: ignore[reportArgumentType]
    try:
        low, high = map(float, ends)
    except ValueError:
        raise UsageError(f"augmentation {text!r} has no range of two numbers", hint=_HINT) from None
    if not 0 < low <= high < math.inf:
        raise UsageError(
            f"the range of augmentation {text!r} must be positive and rising", hint=_HINT
        )
    return Augmentation(level, low, high)  # pyright: ignore[reportArgumentType]
