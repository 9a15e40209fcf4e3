"""A cache of its own for every test, no network, and a hub that lives in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from celo_zoo import card
from tests.shared_folder import checkpoints_dir
from tests.zoo.fakes import FakeHub, entry, pack


@pytest.fixture(scope="session")
def published() -> Path:
    """The folder of published files (NAME/theta.state)."""
    return checkpoints_dir()


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For hypothesis, which shares one folder among its examples."""
    return tmp_path_factory.mktemp("zoo")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("CELO_CACHE_DIR", str(folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("CELO_ZOO_PATH", raising=False)
    return folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    """Replaces huggingface_hub.hf_hub_download."""
    import huggingface_hub

    fake = FakeHub()
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fake.hf_hub_download)
    monkeypatch.setattr("celo_zoo.hub.knock", lambda seconds: "")
    return fake


@pytest.fixture(autouse=True)
def bundled(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Takes the place of the folder of bundled weights; empty."""
    folder = tmp_path_factory.mktemp("bundled")
    monkeypatch.setattr("celo_zoo.location._BUNDLED", folder)
    return folder


@pytest.fixture
def own(bundled: Path, leaves: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Other weights for celo2-base, bundled."""
    ours = {path: leaf + 1 for path, leaf in leaves.items()}
    entry(bundled / "celo2-base", ours)
    return ours


@pytest.fixture
def leaves() -> dict[str, np.ndarray]:
    """Weights of the right form for celo2-base, whose card has no checksum."""
    generator = np.random.default_rng(0)
    return {
        leaf.path: generator.standard_normal(leaf.shape).astype(leaf.dtype)
        for leaf in card("celo2-base").leaves
    }


@pytest.fixture
def state(leaves: dict[str, np.ndarray]) -> bytes:
    """`leaves` as a published file."""
    return pack(leaves)
