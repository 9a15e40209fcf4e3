"""The real learned_optimization in a folder of its own, installed once a session."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shared_folder import third_party_dir

# What it imports besides itself, JAX, Haiku, flax and optax.
_DEPENDENCIES = ("chex", "toolz", "gin-config", "absl-py", "tqdm")


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder for PYTHONPATH; skips where the wheel or the package index is not to be had."""
    [wheel] = third_party_dir().glob("learned_optimization-*.whl")
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # the workers' own folders lie side by side in it
    folder = base / "learned-optimization"
    with open(base / "learned-optimization.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        problem = folder / "problem"
        if not folder.exists():
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
            command += ["--target", str(folder), str(wheel), *_DEPENDENCIES]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            folder.mkdir(exist_ok=True)
            if done.returncode:
                problem.write_text(done.stderr.strip()[-300:])
        if problem.exists():
            pytest.skip(f"learned_optimization cannot be installed: {problem.read_text()}")
    return folder
