"""Is it slower than it was? Measurements beside those of a file, with their noise."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celo.errors import UsageError

Row = Mapping[str, Any]

_RATIOS = {"ratio_to_adam": "x adam", "ratio_to_matmul": "x matmul"}


@dataclass(frozen=True)
class Change:
    """One row beside the row of the same name in an older measurement.

    Attributes:
      name: optimizer, and on what.
      unit: what `before` and `now` are multiples of.
      before: ratio then.
      now: ratio now.
      slower: beyond tolerance and noise.
      faster: likewise.
    """

    name: str
    unit: str
    before: float
    now: float
    slower: bool
    faster: bool


def compare(rows: Sequence[Row], before: Sequence[Row], tolerance: float) -> list[Change]:
    """Rows that both measurements have.

    A row is slower if its median ratio has grown by more than `tolerance` and the
    quartiles of the two do not overlap either: noise moves a median, it rarely parts quartiles.

    Args:
      rows: of this measurement: `optimizer`, `ratio_to_adam` or `ratio_to_matmul`, `ratio_low`,
        `ratio_high`, and `params`, `task`, `phase` where they have them.
      before: of the other one.
      tolerance: relative change that is nobody's concern.
    """
    known = {_name(row): row for row in before}
    changes = []
    for row in rows:
        other = known.get(_name(row))
        if other is None:
            continue
        measure = _measure(row)
        ratio = row[measure] / other[measure]
        changes.append(
            Change(
                name=_name(row),
                unit=_RATIOS[measure],
                before=other[measure],
                now=row[measure],
                slower=ratio > 1 + tolerance and row["ratio_low"] > other["ratio_high"],
                faster=ratio < 1 / (1 + tolerance) and row["ratio_high"] < other["ratio_low"],
            )
        )
    return changes


def read_rows(path: Path) -> list[Row]:
    """The rows of a file that `celo bench --format json` wrote.

    Raises:
      UsageError: it is no such file.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
        rows = value["rows"]
        for row in rows:
            _name(row)
            for name in (_measure(row), "ratio_low", "ratio_high"):
                float(row[name])
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        raise UsageError(
            f"--against {path} is not a measurement of `celo bench`",
            hint="make one with `celo bench update --format json > FILE`",
        ) from None
    return rows


def _measure(row: Row) -> str:
    return next(name for name in _RATIOS if name in row)


def _name(row: Row) -> str:
    if "phase" in row:
        return f"{row['optimizer']}, phase {row['phase']}"
    where = row["task"] if "task" in row else f"{row['params']:,} parameters"
    return f"{row['optimizer']} on {where}"
