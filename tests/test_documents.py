"""What the documents tell people to type exists, and CI types it too."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from celo import registry
from tests.cli.process import celo
from tests.shared_folder import REPOSITORY, checkpoints_dir, data_dir

README = (REPOSITORY / "README.md").read_text()
FENCED = re.findall(r"```\w*\n(.*?)```", README, re.DOTALL)
COMMANDS = sorted(
    {
        match
        for block in FENCED
        for line in block.splitlines()
        for match in re.findall(r"(?:^|/| )celo ((?:eval|report|plugins|tasks|zoo) .*)", line)
    }
)


def test_the_readme_has_commands() -> None:
    assert len(COMMANDS) >= 4


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_readme_are_understood(command: str) -> None:
    done = celo(*command.split(), "--help")
    assert done.returncode == 0, done.stderr


def test_names_in_the_readme_exist() -> None:
    for name in re.findall(r"--suite[= ](\S+?)[\s`)]", README):
        registry.suite(name)
    for name in re.findall(r"--task[= ](\S+?)[\s`)]", README):
        registry.task(name)


def test_ci_runs_the_readmes_two_commands() -> None:
    script = (REPOSITORY / ".ci" / "run").read_text()
    assert "celo eval --optimizers celo,adam --suite quickstart" in script
    assert "celo eval --optimizers celo,adam --suite quickstart" in README
    assert "pip install -e '.[dev]'" in README and "-e '.[dev]'" in script
    assert re.search(r"^pytest", script, re.MULTILINE) and "/pytest" in README


def _losses(example: str, **environment: str) -> list[float]:
    import os

    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "examples" / example)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(line.split()[-1]) for line in done.stdout.splitlines()]


def test_examples_are_short() -> None:
    for path in (REPOSITORY / "examples").glob("*.py"):
        assert len(path.read_text().splitlines()) < 60, path


@pytest.mark.slow
def test_the_optax_example_learns() -> None:
    losses = _losses("optax_loop.py", CELO_ZOO_PATH=str(checkpoints_dir()))
    assert losses[-1] < 0.5 < 1.5 < losses[0]


@pytest.mark.slow
def test_the_fashion_mnist_example_learns(real_data_dir: Path) -> None:
    losses = _losses(
        "fashion_mnist.py",
        CELO_ZOO_PATH=str(checkpoints_dir()),
        CELO_DATA_DIR=str(real_data_dir),
    )
    assert len(losses) == 20
    assert losses[-1] < 0.6 < 1.5 < losses[0]


@pytest.fixture(scope="session")
def real_data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fashion-MNIST in the local layout."""
    import numpy as np

    folder = tmp_path_factory.mktemp("data")
    with np.load(data_dir() / "fashion_mnist.npz", allow_pickle=False) as arrays:
        np.savez(folder / "fashion_mnist.npz", **{name: arrays[name] for name in arrays.files})
    return folder
