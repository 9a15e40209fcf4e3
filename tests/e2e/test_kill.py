"""SIGKILL at random moments; `benchmarks/faults.py` does it as often as one likes."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.faults import run


@pytest.mark.slow
def test_kills_lose_nothing_that_was_finished(tmp_path: Path) -> None:
    result = run(tmp_path, kills=3, seed=1)
    assert result.kills > 0
    assert (result.lost, result.rewritten, result.identical) == (0, 0, True)
