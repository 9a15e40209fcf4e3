"""Where tests find golden files, published weights and real data; they skip where it is missing.

The folder lies beside the checkout; the product itself never needs it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
_SHARED = REPOSITORY.parent / "shared"


def golden_dir() -> Path:
    return _existing(Path(os.environ.get("CELO_GOLDEN_DIR") or _SHARED / "golden"), "golden files")


def checkpoints_dir() -> Path:
    path = Path(os.environ.get("CELO_ZOO_PATH") or _SHARED / "checkpoints")
    return _existing(path, "published weights")


def data_dir() -> Path:
    return _existing(_SHARED / "data", "real data sets")


def third_party_dir() -> Path:
    return _existing(_SHARED / "third_party", "packages of other people")


def _existing(path: Path, what: str) -> Path:
    if not path.is_dir():
        pytest.skip(f"{what} are not on this machine: {path} is missing", allow_module_level=True)
    return path


def golden_files(pattern: str) -> list[Path]:
    """Golden files by glob, for parametrisation; empty (not a skip) where the folder is missing."""
    path = Path(os.environ.get("CELO_GOLDEN_DIR") or _SHARED / "golden")
    return sorted(path.glob(pattern)) if path.is_dir() else []
