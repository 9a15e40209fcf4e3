from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder and an empty cache that nothing else uses."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("CELO_DATA_DIR", str(folder))
    monkeypatch.setenv("CELO_CACHE_DIR", str(tmp_path / "cache"))
    return folder
