from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from celo import registry
from tests.evaluation import faulty


@pytest.fixture
def faulty_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Optimizers that go wrong while they run, here and in child processes; what `hangs` marks."""
    site, marker = tmp_path / "site", tmp_path / "hangs"
    faulty.install(site)
    monkeypatch.syspath_prepend(str(site))
    inherited = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", str(site) + (f":{inherited}" if inherited else ""))
    monkeypatch.setenv(faulty.MARKER, str(marker))
    registry.forget()
    yield marker
    registry.forget()
