"""Text for people and machines: aligned tables, times, JSON-safe values. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any


def aligned(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, numeric: Collection[int] = ()
) -> list[str]:
    """A table as aligned lines that nothing cuts short: heading, rule, one line a row.

    Args:
      columns: headings.
      rows: cells, already formatted.
      numeric: indices of right-aligned columns.
    """
    cells = [list(columns), *[list(row) for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    lines = [
        "  ".join(
            cell.rjust(width) if i in numeric else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines


def duration(seconds: float) -> str:
    """Time for people: "8 s", "4 min 10 s", "3 h 05 min"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def jsonable(value: Any) -> Any:
    """`value` with NaN and infinities as None and tuples as lists, all the way down."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    return value
