"""The wheel, installed in a fresh environment and used from another folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.shared_folder import REPOSITORY


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # From a copy: setuptools would pack what older builds left in the checkout's build/.
    source = folder / "source"
    ignored = shutil.ignore_patterns(".git", ".venv", "build", "*.egg-info", "__pycache__", "tests")
    shutil.copytree(REPOSITORY, source, ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder)]
    subprocess.run([*command, str(source)], check=True)
    return next(folder.glob("celo-*.whl"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the executables of an environment that holds the wheel, and nothing else of ours.

    The dependencies are those of this environment, by path: installing them again would take
    minutes and prove nothing about the wheel.
    """
    home = tmp_path_factory.mktemp("fresh")
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", str(wheel)], check=True)
    where = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    done = subprocess.run([python, "-c", where], check=True, capture_output=True, text=True)
    # Appended behind the wheel's own folder; .pth files inside it are not followed, so that an
    # editable installation of the checkout is not seen.
    dependencies = Path(done.stdout.strip()) / "dependencies.pth"
    dependencies.write_text(sysconfig.get_paths()["purelib"] + "\n")
    return home / "bin"


def _run(installed: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [installed / arguments[0], *arguments[1:]],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_holds_what_it_should(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"celo", "celo_plugins", "celo_zoo"}
    for name in (
        "celo/py.typed",
        "celo/tasks/suites/quickstart.toml",
        "celo_zoo/cards/celo.toml",
    ):
        assert name in names
    assert not [name for name in names if name.endswith((".state", ".safetensors"))]


def test_it_runs_from_another_folder(installed: Path, tmp_path: Path) -> None:
    where = _run(installed, "python", "-c", "import celo; print(celo.__file__)", cwd=tmp_path)
    assert str(installed.parent) in where.stdout
    listed = _run(installed, "celo", "plugins", "list", "--format", "json", cwd=tmp_path)
    records = json.loads(listed.stdout)
    assert {"celo", "adam"} <= {record["name"] for record in records}
    assert all(record["status"] == "ok" for record in records)
    assert len(records) == len({record["name"] for record in records})


def test_the_main_job_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    done = _run(
        installed,
        *("celo", "eval", "--optimizers", "sgd:lr=0.1", "--reference", "sgd:lr=0.1"),
        *("--suite", "quickstart", "--task", "Digits_MLP_32", "--steps", "20", "--seeds", "0"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "sgd:lr=0.1" in done.stdout
    assert (tmp_path / "celo-runs" / "quickstart" / "run.json").exists()
