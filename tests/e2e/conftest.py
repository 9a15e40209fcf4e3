"""One environment a session, whatever the number of workers: our wheel and strangers' packages."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.e2e.environment import Environment
from tests.shared_folder import REPOSITORY

_IGNORED = (".git", ".venv", "build", "*.egg-info", "__pycache__")


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The environment; everything is installed before anybody uses it, and nothing afterwards."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # the workers' own folders lie side by side in it
    environment = Environment(base / "installed")
    with open(base / "installed.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready = environment.home / "ready"
        if not ready.exists():
            shutil.rmtree(environment.home, ignore_errors=True)
            environment.home.mkdir()
            _install_wheel(environment)
            _install_strangers(environment)
            ready.touch()
    return environment


def _install_wheel(environment: Environment) -> None:
    # From a copy: setuptools would pack what older builds left in the checkout's build/.
    source = environment.home / "source"
    shutil.copytree(REPOSITORY, source, ignore=shutil.ignore_patterns(*_IGNORED, "tests"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*command, "-w", str(environment.home), str(source)], check=True)
    venv.create(environment.bin.parent, with_pip=True)
    _pip_install(environment, environment.wheel)
    where = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    done = environment.run("python", "-c", where, cwd=environment.home)
    # The dependencies are those of this environment, by path: installing them again would take
    # minutes and prove nothing about the wheel. They come behind the wheel's own folder; .pth files
    # inside are not followed, so that an editable installation of the checkout is not seen.
    dependencies = Path(done.stdout.strip()) / "dependencies.pth"
    dependencies.write_text(sysconfig.get_paths()["purelib"] + "\n")


def _install_strangers(environment: Environment) -> None:
    ignored = shutil.ignore_patterns(*_IGNORED)
    shutil.copytree(REPOSITORY / "plugins" / "example", environment.lion, ignore=ignored)
    environment.generated.mkdir()
    for arguments in (["fast-sign"], ["two-numbers", "--learned"]):
        done = environment.run("celo", "plugins", "new", *arguments, cwd=environment.generated)
        assert done.returncode == 0, done.stderr
    _pip_install(environment, environment.lion, *sorted(environment.generated.iterdir()))


def _pip_install(environment: Environment, *what: Path) -> None:
    command = [environment.bin / "python", "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*command, *map(str, what)], check=True)
