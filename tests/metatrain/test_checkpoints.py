"""Checkpoints that are readable and yet not what was written."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from celo.errors import StoreError
from celo.metatrain.checkpoints import Checkpoint, read_checkpoint, write_checkpoint


def test_arrays_of_another_checkpoint_are_noticed(tmp_path: Path) -> None:
    """A sound archive whose hashes do not agree; its own checksums cannot show that."""
    for iteration in (1, 2):
        leaves = [np.full(3, iteration, np.float32), np.arange(2)]
        write_checkpoint(tmp_path, Checkpoint(leaves, iteration, {}))
    older, newer = sorted((tmp_path / "checkpoints").iterdir())
    with zipfile.ZipFile(older) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(newer) as archive:
        members["00000.npy"] = archive.read("00000.npy")
    with zipfile.ZipFile(newer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    found, complaints = read_checkpoint(tmp_path)
    assert found is not None and found.iteration == 1
    np.testing.assert_array_equal(found.leaves[0], [1, 1, 1])
    [complaint] = complaints
    assert "its arrays are not those that were written" in complaint
    older.unlink()
    with pytest.raises(StoreError, match=r"no checkpoint .* its arrays are not those"):
        read_checkpoint(tmp_path)
