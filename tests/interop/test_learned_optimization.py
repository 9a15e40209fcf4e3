"""Our objects in the real learned_optimization and its objects in ours, in one other process."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.interop.real_library import CHECKS, SLOW
from tests.shared_folder import REPOSITORY, checkpoints_dir, third_party_dir


def _run(library: Path, names: list[str]) -> dict[str, str | None]:
    """Results of some checks, computed by the first worker that asks."""
    place = library.parent / f"interop-{'slow' if set(names) & SLOW else 'quick'}"
    with open(f"{place}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        results = Path(f"{place}.json")
        if not results.exists():
            inherited = filter(None, [os.environ.get("PYTHONPATH")])
            paths = (library, third_party_dir(), REPOSITORY, *inherited)
            done = subprocess.run(
                [sys.executable, "-m", "tests.interop.real_library", *names],
                cwd=REPOSITORY,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(map(str, paths)),
                    "CELO_EXAMPLE_WEIGHTS": str(checkpoints_dir() / "celo" / "theta.state"),
                    # Compiling is nearly all of it.
                    "XLA_FLAGS": "--xla_backend_optimization_level=0",
                },
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            results.write_text(done.stdout)
        return json.loads(results.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CHECKS if name not in SLOW])
def test_against_the_real_library(library: Path, name: str) -> None:
    failure = _run(library, [name for name in CHECKS if name not in SLOW])[name]
    assert failure is None, failure


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SLOW))
def test_more_against_the_real_library(library: Path, name: str) -> None:
    failure = _run(library, sorted(SLOW))[name]
    assert failure is None, failure
