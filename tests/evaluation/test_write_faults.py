"""The disk fails at the k-th operation, for every k: nothing finished is lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import celo
from celo import files
from celo.errors import StoreError
from celo.evaluation import runner
from celo.evaluation.cells import Cell
from celo.evaluation.store import Run

SETTINGS: dict[str, Any] = {
    "tasks": ("Digits_MLP_32",),
    "steps": 10,
    "seeds": (0, 1, 3),
    "reference": None,
    "eval_batches": 1,
    "last_eval_batches": 1,
}


_OPEN = os.open


class Disk:
    """Counts calls of one operation and fails at one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, operation: str):
        self.calls, self.fail_at = 0, -1
        self._real = getattr(os, operation)
        monkeypatch.setattr(files.os, operation, self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # `os` is everybody's: opening for reading is none of ours.
        if self._real is _OPEN and not args[1] & os.O_CREAT:
            return self._real(*args, **kwargs)
        self.calls += 1
        if self.calls - 1 == self.fail_at:
            raise OSError(28, "No space left on device")
        return self._real(*args, **kwargs)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> list[Cell]:
    folder = tmp_path_factory.mktemp("runs") / "run"
    return celo.evaluate("sgd:lr=0.1,sgdm:lr=0.1", output=folder, **SETTINGS).cells


@pytest.mark.parametrize("operation", ["open", "fsync", "replace"])
def test_every_write_may_fail(
    clean: list[Cell], operation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_digest = {cell.key.digest: cell for cell in clean}
    computed: list[str] = []

    def known_block(block, context, platform, observer) -> list[Cell]:
        cells = [by_digest[key.digest] for key in block.keys(block.batching(platform))]
        computed.extend(cell.key.digest for cell in cells)
        return cells

    monkeypatch.setattr(runner, "_run_block", known_block)
    disk = Disk(monkeypatch, operation)

    def evaluate(folder: Path) -> list[Cell]:
        return celo.evaluate("sgd:lr=0.1,sgdm:lr=0.1", output=folder, **SETTINGS).cells

    evaluate(tmp_path / "counted")
    operations, refused = disk.calls, 0
    assert operations >= len(clean)
    for k in range(operations):
        folder = tmp_path / f"{operation}-{k}"
        disk.calls, disk.fail_at = 0, k
        try:
            evaluate(folder)
        except StoreError as error:
            refused += 1
            assert "the disk is full" in error.message and "safe" in (error.hint or "")
        disk.fail_at = -1
        assert not list(folder.rglob("*.part"))
        before = _finished(folder)
        computed.clear()
        after = evaluate(folder)
        assert len(after) == len(clean)
        for ours, theirs in zip(after, clean, strict=True):
            assert ours.key.digest == theirs.key.digest
            np.testing.assert_array_equal(ours.curves["train/loss"], theirs.curves["train/loss"])
        # A block is computed again only if one of its cells was missing.
        blocks = {cell.key.block_seeds + (cell.key.entry,): [] for cell in clean}
        for cell in clean:
            blocks[cell.key.block_seeds + (cell.key.entry,)].append(cell.key.digest)
        whole = [block for block in blocks.values() if set(block) <= before]
        assert not {digest for block in whole for digest in block} & set(computed)
    assert refused >= len(clean)


def _finished(folder: Path) -> set[str]:
    if not (folder / "run.json").exists():
        return set()
    cells, damaged = Run.open(folder).cells()
    assert not damaged
    return {cell.key.digest for cell in cells}
