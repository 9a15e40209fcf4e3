"""Is it slower than it was? Measurements beside those of a file, with their noise."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celo.errors import UsageError

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """One row beside the row of the same name in an older measurement.

    Attributes:
      name: optimizer, and the task where there is one.
      before: ratio to Adam then.
      now: ratio to Adam now.
      slower: beyond tolerance and noise.
      faster: likewise.
    """

    name: str
    before: float
    now: float
    slower: bool
    faster: bool


def compare(rows: Sequence[Row], before: Sequence[Row], tolerance: float) -> list[Change]:
    """Rows that both measurements have.

    A row is slower if its median ratio to Adam has grown by more than `tolerance` and the
    quartiles of the two do not overlap either: noise moves a median, it rarely parts quartiles.

    Args:
      rows: of this measurement: `optimizer`, `ratio_to_adam`, `ratio_low`, `ratio_high`, and
        `params`, `task` where they have them.
      before: of the other one.
      tolerance: relative change that is nobody's concern.
    """
    known = {_name(row): row for row in before}
    changes = []
    for row in rows:
        other = known.get(_name(row))
        if other is None:
            continue
        ratio = row["ratio_to_adam"] / other["ratio_to_adam"]
        changes.append(
            Change(
                name=_name(row),
                before=other["ratio_to_adam"],
                now=row["ratio_to_adam"],
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
            for name in ("ratio_to_adam", "ratio_low", "ratio_high"):
                float(row[name])
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(
            f"--against {path} is not a measurement of `celo bench`",
            hint="make one with `celo bench update --format json > FILE`",
        ) from None
    return rows


def _name(row: Row) -> str:
    where = row["task"] if "task" in row else f"{row['params']:,} parameters"
    return f"{row['optimizer']} on {where}"
