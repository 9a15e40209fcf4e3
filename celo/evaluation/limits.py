"""How much time and memory a block may take. Standard library only."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from celo.errors import UsageError

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE | re.ASCII)
_MOST_SECONDS = 10_000_000


@dataclass(frozen=True)
class Limits:
    """What one block may take.

    Attributes:
      seconds: of computing: reading the task's data, compiling and training. None for any.
      memory: bytes that the compiled training loop may need, by the compiler's estimate. None for
        any.
      isolate: compute in a process of its own even without limits.
    """

    seconds: float | None = None
    memory: int | None = None
    isolate: bool = False

    @property
    def isolated(self) -> bool:
        """Whether blocks are computed in a process that can be stopped, and may die, alone."""
        return self.isolate or self.seconds is not None or self.memory is not None


def parse_seconds(value: Any) -> float:
    """A time limit.

    Args:
      value: a positive number of seconds.

    Raises:
      UsageError: it is something else.
    """
    wrong = isinstance(value, bool) or not isinstance(value, (int, float))
    if wrong or not 0 < value <= _MOST_SECONDS:
        raise UsageError(
            f"the time limit must be a number of seconds above 0 and at most {_MOST_SECONDS:,}, "
            f"got {value!r}",
            hint="for example: --time-limit 600",
        )
    return float(value)


def parse_size(value: Any) -> int:
    """A memory limit in bytes.

    Args:
      value: a positive number of bytes, or a text such as "8G", "512M" or "1.5 GiB" (units of
        1024; K, M, G and T).

    Raises:
      UsageError: it is something else.
    """
    size = value if isinstance(value, int) and not isinstance(value, bool) else 0
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        size = int(float(match[1]) * _UNITS[match[2].upper()])
    if not 0 < size <= 2**60:
        raise UsageError(
            f"the memory limit must be a size above 0 such as 8G or 512M, got {value!r}",
            hint="units are K, M, G and T, of 1024 each; for example: --memory-limit 8G",
        )
    return size


def shown_size(size: float) -> str:
    """Bytes for people: "512 MiB", "9.31 GiB"."""
    power = min(4, int(math.log2(max(size, 1)) // 10))
    return f"{size / 1024**power:.3g} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"
