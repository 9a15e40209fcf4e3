"""SIGKILL at random moments; `benchmarks/faults.py` does it as often as one likes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.faults import CELO, run, written
from tests.cli.process import celo, children, runs
from tests.e2e.neighbours import path_with
from tests.evaluation import faulty

EVALUATION = (
    *("eval", "--optimizers", "sgd:lr=0.1,sgdm:lr=0.1", "--reference", "none"),
    *("--task", "Digits_MLP_32", "--steps", "20", "--seeds", "0,3,6", "--format", "quiet"),
)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The evaluation by one process that nothing happened to."""
    folder = tmp_path_factory.mktemp("runs") / "alone"
    assert celo(*EVALUATION, "--output", str(folder)).returncode == 0
    return folder


@pytest.mark.slow
def test_kills_lose_nothing_that_was_finished(tmp_path: Path) -> None:
    result = run(tmp_path, kills=3, seed=1)
    assert result.kills > 0
    assert (result.lost, result.rewritten, result.identical, result.tracebacks) == (0, 0, True, 0)


@pytest.mark.slow
def test_one_of_two_processes_on_a_folder_is_killed(alone: Path, tmp_path: Path) -> None:
    """The other one finishes, with the results of one that was alone."""
    shared = tmp_path / "shared"
    two = [
        subprocess.Popen([CELO, *EVALUATION, "--output", str(shared)], stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    _wait(lambda: len(written(shared)) >= 1 or any(p.poll() is not None for p in two))
    two[0].kill()
    _, stderr = two[1].communicate(timeout=300)
    assert two[0].wait() == -signal.SIGKILL and two[1].returncode == 0, stderr.decode()
    two[0].communicate()
    assert b"Traceback" not in stderr and b"damaged" not in stderr
    assert _curves(shared) == _curves(alone)
    kept = written(shared)
    assert len(kept) == 6
    assert celo(*EVALUATION, "--output", str(shared)).returncode == 0
    assert written(shared) == kept


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_nothing(alone: Path, tmp_path: Path) -> None:
    """Its block is computed again at the end, with the results of one process."""
    folder = tmp_path / "run"
    command = [CELO, *EVALUATION[:-2], "--workers", "2", "--output", str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    _wait(lambda: len(written(folder)) >= 1 or process.poll() is not None)
    os.kill(children(process.pid)[0], signal.SIGKILL)
    stderr = process.communicate(timeout=300)[1].decode()
    assert process.returncode == 0, stderr
    assert "killed by SIGKILL" in stderr and "tried again at the end, alone" in stderr
    assert "Traceback" not in stderr and "FAILED" not in stderr
    assert _curves(folder) == _curves(alone)


def test_what_is_computed_ends_with_who_asked_for_it(tmp_path: Path) -> None:
    faulty.install(tmp_path / "site")
    marker = tmp_path / "hangs"
    arguments = ("eval", "-o", "hangs", "--reference", "none", "--task", "Digits_MLP_32")
    process = subprocess.Popen(
        [CELO, *arguments, "--steps", "30", "--seeds", "0", "--isolate", "--output", "run"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path_with(tmp_path / "site"), faulty.MARKER: str(marker)},
        stderr=subprocess.DEVNULL,
    )
    _wait(lambda: marker.exists() and marker.read_text() != "" or process.poll() is not None)
    worker = int(marker.read_text())
    assert worker != process.pid and runs(worker)
    process.kill()
    process.wait()
    _wait(lambda: not runs(worker))


def _wait(until: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not until():
        assert time.monotonic() - began < 300
        time.sleep(0.005)


def _curves(folder: Path) -> dict[str, dict[str, bytes]]:
    from celo.evaluation.store import Run

    cells, damaged = Run.open(folder).cells()
    assert not damaged and {cell.status for cell in cells} == {"done"}
    return {c.key.digest: {name: v.tobytes() for name, v in c.curves.items()} for c in cells}
