"""The disk fails at the k-th operation, for every k: nothing finished is lost.

`benchmarks/faults.py` runs the whole product of operations and faults through the command line.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path

import pytest

import celo
from celo.errors import StoreError
from celo.evaluation import store
from celo.evaluation.cells import Cell
from tests.evaluation.disk import (
    OPTIMIZERS,
    SETTINGS,
    Fault,
    Known,
    finished,
    made_up,
    sweep,
)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> list[Cell]:
    return made_up(tmp_path_factory.mktemp("runs") / "run")


def evaluate(folder: Path, *, fresh: bool = False) -> str | None:
    try:
        celo.evaluate(OPTIMIZERS, output=folder, fresh=fresh, **SETTINGS)
    except StoreError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("operation", "number", "words"),
    [
        ("open", errno.ENOSPC, "the disk is full"),
        ("fsync", errno.EIO, "Input/output error"),
        ("replace", errno.EIO, "Input/output error"),
    ],
)
def test_every_write_may_fail(
    clean: list[Cell], operation: str, number: int, words: str, tmp_path: Path
) -> None:
    result = sweep(clean, tmp_path, Fault(operation, number), evaluate)
    assert result.places > len(clean)
    assert (result.lost, result.repeated) == (0, 0)
    assert len(clean) <= result.refused <= result.places
    assert all(words in message and "safe" in message for message in result.messages)


def test_every_write_may_fail_while_several_workers_compute(
    clean: list[Cell], tmp_path: Path
) -> None:
    def evaluate_by_three(folder: Path, *, fresh: bool = False) -> str | None:
        try:
            celo.evaluate(OPTIMIZERS, output=folder, fresh=fresh, workers=3, **SETTINGS)
        except StoreError as error:
            return str(error)
        return None

    result = sweep(clean, tmp_path, Fault("replace", errno.ENOSPC), evaluate_by_three)
    assert result.places > len(clean)
    assert (result.lost, result.repeated) == (0, 0)
    assert len(clean) <= result.refused <= result.places


@pytest.mark.parametrize("left", ["old", "new", "empty", "torn"])
def test_power_may_fail_before_the_folder_is_on_disk(
    clean: list[Cell], left: str, tmp_path: Path
) -> None:
    result = sweep(clean, tmp_path, Fault("replace", left=left), evaluate)
    assert result.refused == result.places > len(clean)
    assert (result.lost, result.repeated) == (0, 0)


def test_the_clock_decides_nothing(clean: list[Cell], tmp_path: Path, monkeypatch) -> None:
    """It runs backwards, and what is there was written tomorrow."""
    now = iter(range(2_000_000_000, 0, -100_000))
    monkeypatch.setattr(time, "time", lambda: float(next(now)))
    known = Known(clean)
    with known.instead():
        assert evaluate(tmp_path / "run") is None
        torn = next((tmp_path / "run").glob("cells/*/*")) / ".another.part"
        torn.write_bytes(b"another process writes this")
        tomorrow = 2_100_000_000
        for path in (tmp_path / "run").rglob("*"):
            os.utime(path, (tomorrow, tomorrow))
        known.computed.clear()
        assert evaluate(tmp_path / "run") is None
    assert known.computed == [] and torn.exists()
    assert len(finished(tmp_path / "run", clean)) == len(clean)


def test_no_file_system_must_lock(clean: list[Cell], tmp_path: Path, monkeypatch) -> None:
    """Nor link, nor bring folders to disk."""

    def refuse(number: int):
        def call(*args, **kwargs):
            raise OSError(number, os.strerror(number))

        return call

    for name in ("flock", "lockf", "fcntl"):
        monkeypatch.setattr(fcntl, name, refuse(errno.ENOLCK))
    for name in ("link", "symlink"):
        monkeypatch.setattr(os, name, refuse(errno.EOPNOTSUPP))
    real, folders = os.fsync, []

    def fsync(handle: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            folders.append(handle)
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    known = Known(clean)
    with known.instead():
        assert evaluate(tmp_path / "run") is None
        damaged = next((tmp_path / "run").glob("cells/*/*/*.npz"))
        damaged.write_bytes(b"")
        known.computed.clear()
        assert evaluate(tmp_path / "run") is None
    assert folders and known.computed
    assert len(finished(tmp_path / "run", clean)) == len(clean)
    assert store.put_aside(tmp_path / "run") is not None


def test_a_block_that_another_process_finished_meanwhile_is_taken(
    clean: list[Cell], tmp_path: Path
) -> None:
    """While the first block is computed here, all the others are finished by somebody else."""
    folder = tmp_path / "run"

    class Slow(Known):
        def compute(self, block, listener):
            run = store.Run.open(folder)
            for cell in clean:
                if cell.key.digest not in {key.digest for key in block.keys("vmap")}:
                    run.write(cell)
            return super().compute(block, listener)

    known = Slow(clean)
    with known.instead():
        assert evaluate(folder) is None
    assert len(known.computed) < len(clean) == len(finished(folder, clean))
    assert {cell.key.digest for cell in clean[: len(known.computed)]} == set(known.computed)


def test_a_block_that_fails_hides_none_of_its_finished_cells(
    clean: list[Cell], tmp_path: Path, monkeypatch
) -> None:
    """One cell of a block was torn away; computing the block again fails."""
    from celo.evaluation.recording import Failed

    known = Known(clean)
    with known.instead():
        assert evaluate(tmp_path / "run") is None
        first = min((tmp_path / "run").glob("cells/*/sgd_*/seed0-*.npz"))
        first.unlink()
        monkeypatch.setattr(known, "compute", lambda block, listener: Failed("no luck", 3))
        assert evaluate(tmp_path / "run") is None
    assert len(finished_ones(tmp_path / "run")) == len(clean) - 1
    [failed] = [c for c in store.Run.open(tmp_path / "run").cells()[0] if c.status == "failed"]
    assert (failed.reason, failed.step) == ("no luck", 3)


def finished_ones(folder: Path) -> list[Cell]:
    return [cell for cell in store.Run.open(folder).cells()[0] if cell.status != "failed"]
