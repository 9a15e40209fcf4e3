"""Which part of an evaluation this process computes: `--shard 2/8`. Standard library only.

Every shard divides the whole request by the same rule, from what the request says alone: nothing on
disk, no clock and no other process has a say, so shards need not know of each other, start together
or end well. Together they are the whole.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from celo.errors import UsageError

_TEXT = re.compile(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", re.ASCII)


@dataclass(frozen=True)
class Shard:
    """One part of several.

    Attributes:
      number: of this one, from 1.
      count: of all.
    """

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def parse_shard(value: Any) -> Shard:
    """Reads "2/8", the second of eight.

    Raises:
      UsageError: it is something else, or there is no such part.
    """
    match = _TEXT.fullmatch(value) if isinstance(value, str) else None
    shard = Shard(int(match[1]), int(match[2])) if match else Shard(0, 0)
    if not 1 <= shard.number <= shard.count:
        raise UsageError(
            f"the shard must be NUMBER/COUNT with 1 <= NUMBER <= COUNT, got {value!r}",
            hint="for example: --shard 2/8 computes the second of eight parts",
        )
    return shard


def assign(costs: Sequence[float], count: int) -> list[int]:
    """The shard, from 1, of each piece of work, so that all shards cost about the same.

    The costliest piece goes first, always to the shard with the least so far (the "longest
    processing time" rule: no shard gets more than 4/3 of what the best division would give it;
    Graham 1969). Ties go to the earlier piece and the lower shard.

    Args:
      costs: of the pieces, in any unit.
      count: of shards.
    """
    loads = [(0.0, number + 1) for number in range(count)]
    shards = [0] * len(costs)
    for piece in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        load, number = loads[0]
        heapq.heapreplace(loads, (load + costs[piece], number))
        shards[piece] = number
    return shards
