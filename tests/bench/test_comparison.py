"""Slower beyond noise, or just noise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from celo.bench.comparison import compare, read_rows
from celo.errors import UsageError


def _row(median: float, low: float, high: float, **fields: Any) -> dict[str, Any]:
    row = {"optimizer": "celo", "params": 1000, "ratio_to_adam": median}
    return {**row, "ratio_low": low, "ratio_high": high, **fields}


@pytest.mark.parametrize(
    ("now", "slower", "faster"),
    [
        (_row(10.5, 10.4, 10.6), False, False),  # within the tolerance
        (_row(15.0, 9.0, 20.0), False, False),  # within the noise
        (_row(15.0, 14.0, 16.0), True, False),
        (_row(5.0, 4.0, 6.0), False, True),
    ],
)
def test_change(now: dict[str, Any], slower: bool, faster: bool) -> None:
    (change,) = compare([now], [_row(10.0, 9.5, 10.5)], tolerance=0.1)
    assert (change.slower, change.faster) == (slower, faster)
    assert (change.before, change.now) == (10.0, now["ratio_to_adam"])


def test_only_like_is_compared_with_like() -> None:
    before = [_row(10, 9, 11), _row(1, 1, 1, task="A")]
    assert not compare([_row(20, 19, 21, params=2000)], before, 0.1)
    (change,) = compare([_row(20, 19, 21, task="A")], before, 0.1)
    assert change.before == 1 and change.name == "celo on A"


def test_phases_are_compared_by_products() -> None:
    def phase(number: int, ratio: float) -> dict[str, Any]:
        row = {"optimizer": "celo", "phase": number, "ratio_to_matmul": ratio}
        return {**row, "ratio_low": 0.9 * ratio, "ratio_high": 1.1 * ratio}

    (change,) = compare([phase(2, 3.0)], [phase(1, 1.0), phase(2, 2.0)], 0.1)
    assert (change.name, change.unit) == ("celo, phase 2", "x matmul")
    assert (change.before, change.now, change.slower) == (2.0, 3.0, True)


@pytest.mark.parametrize("text", ["", "[]", '{"rows": [{"optimizer": "celo"}]}'])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "before.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="is not a measurement of `celo bench`"):
        read_rows(path)
    path.write_text(json.dumps({"rows": [_row(1, 1, 1)]}))
    assert read_rows(path) == [_row(1, 1, 1)]
