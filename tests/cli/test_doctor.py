"""`celo doctor`: finds what is broken, names what mends it, and always leaves with 0."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from celo import registry
from celo.cli import doctor
from tests.cli.process import celo


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No network, a fresh cache, and none of the variables of whoever runs the tests."""
    for name in (*doctor._VARIABLES, *doctor._OTHER_VARIABLES, "HF_TOKEN"):
        if name != "JAX_PLATFORMS":
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("CELO_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def look() -> dict[str, dict[str, Any]]:
    """Findings by area/name."""
    result = CliRunner().invoke(doctor.command, ["--format", "json"])
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert value["schema"] == 1
    assert value["ok"] == all(check["status"] != "broken" for check in value["checks"])
    for check in value["checks"]:
        assert set(check) == {"area", "name", "status", "detail", "fix"}
        assert (check["fix"] is None) == (check["status"] == "ok"), check
    return {f"{check['area']}/{check['name']}": check for check in value["checks"]}


def broken() -> set[str]:
    return {name for name, check in look().items() if check["status"] == "broken"}


def test_the_command_in_80_columns() -> None:
    done = celo("doctor", COLUMNS="80")
    assert done.returncode == 0 and done.stderr == "nothing is broken\n"
    lines = done.stdout.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == list(doctor.AREAS)
    for line in lines:  # what cannot be broken may be longer: a path stays whole
        assert len(line) <= 80 or len(line.split()) <= 2, line
    assert f"  ok      jax: {metadata.version('jax')}" in lines
    assert "          -> celo zoo pull celo" in lines


def test_a_sound_installation() -> None:
    found = look()
    assert {name.partition("/")[0] for name in found} == set(doctor.AREAS)
    for name in (
        "python",
        "celo",
        "jax",
        "jaxlib",
        "dm-haiku",
        "optax",
        "numpy",
        "pandas",
        "rliable",
    ):
        assert found[f"versions/{name}"]["status"] == "ok"
    assert (
        found["versions/rliable"]["status"] == found["versions/huggingface_hub"]["status"] == "ok"
    )
    assert any(name.startswith("devices/") and "cpu" in name.lower() for name in found)
    assert found["data/digits"]["status"] == "ok" and found["data/mnist"]["status"] == "absent"
    assert "mnist=synthetic" in found["data/mnist"]["fix"]
    assert found["weights/celo"]["fix"] == "celo zoo pull celo"
    assert "of celo " in found["plugins/optimizers"]["detail"]
    assert found["network/https://huggingface.co"]["detail"] == "offline mode, nothing was tried"


@pytest.mark.parametrize(
    ("version", "bounds", "holds"),
    [
        ("2.3.3", ">=2.2,<3", True),
        ("3.0.0", ">=2.2,<3", False),
        ("3.1.0rc1", ">=2.2,<3", False),
        ("2.1.9", ">=2.2,<3", False),
        ("2.10", ">=2.2,<3", True),
        ("1", ">=1.0", True),
        ("0.5.0+cuda12", ">=0.5", True),
        ("anything", "", True),
    ],
)
def test_bounds(version: str, bounds: str, holds: bool) -> None:
    assert doctor.satisfies(version, bounds) is holds


def test_requirements_as_setuptools_writes_them() -> None:
    lines = ["jax>=0.5", "pandas<3,>=2.2", "flax>=0.10; extra == 'dev'", "click", "a (>=1)"]
    assert doctor.requirements(lines[:-1]) == {"jax": ">=0.5", "pandas": ">=2.2,<3", "click": ""}


def test_a_wrong_and_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name == "rliable":
            raise metadata.PackageNotFoundError(name)
        return "3.0.1" if name == "pandas" else real(name)

    monkeypatch.setattr(metadata, "version", version)
    found = look()
    assert found["versions/pandas"]["detail"] == "3.0.1, expected >=2.2,<3"
    assert found["versions/pandas"]["fix"].endswith(" -m pip install 'pandas>=2.2,<3'")
    assert found["versions/rliable"]["detail"] == "not installed, expected >=1.2"
    assert broken() == {"versions/pandas", "versions/rliable"}


@pytest.mark.parametrize("error", [RuntimeError("no driver\nsecond line"), SystemExit(3)])
def test_jax_without_a_device(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def devices() -> None:
        raise error

    monkeypatch.setattr("jax.devices", devices)
    monkeypatch.setenv("JAX_PLATFORMS", "tpu")
    found = look()
    assert found["devices/jax"]["fix"] == "unset JAX_PLATFORMS"
    assert "second line" not in found["devices/jax"]["detail"]
    monkeypatch.delenv("JAX_PLATFORMS")
    assert "install --upgrade jax" in look()["devices/jax"]["fix"]


def test_jax_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jax", None)
    found = look()
    assert "cannot be imported" in found["devices/jax"]["detail"]
    assert found["versions/jax"]["status"] == "ok"


def test_the_cache_and_its_sizes(surroundings: Path) -> None:
    (surroundings / "zoo" / "x").mkdir(parents=True)
    (surroundings / "zoo" / "x" / "file").write_bytes(b"\0" * 1500)
    (surroundings / "compiled").mkdir()
    found = look()
    assert found["cache/zoo"]["detail"] == "1.5 kB in 1 files"
    assert found["cache/compiled"]["detail"] == "0.0 kB in 0 files"


def test_a_cache_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CELO_CACHE_DIR", str(tmp_path / "file" / "cache"))
    check = look()["cache/folder"]
    assert "is not a folder" in check["detail"] and "CELO_CACHE_DIR" in check["fix"]
    monkeypatch.setenv("CELO_CACHE_DIR", str(tmp_path / "none"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "cannot be written" in look()["cache/folder"]["detail"]
    monkeypatch.setattr(doctor, "_MIN_FREE_BYTES", 2**80)
    assert "free some space" in look()["cache/disk"]["fix"]


def test_damaged_data_and_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mnist.npz").write_bytes(b"damaged")
    monkeypatch.setenv("CELO_DATA_DIR", str(tmp_path))
    np.savez(tmp_path / "cifar10.npz", nothing=np.zeros(1))
    (tmp_path / "celo").mkdir()
    (tmp_path / "celo" / "theta.state").write_bytes(b"damaged")
    monkeypatch.setenv("CELO_ZOO_PATH", str(tmp_path))
    found = look()
    assert {"data/mnist", "data/cifar10", "weights/celo"} <= broken()
    assert "unknown format" in found["weights/celo"]["detail"]
    assert found["weights/celo"]["fix"] == "unset CELO_ZOO_PATH"
    monkeypatch.delenv("CELO_ZOO_PATH")
    cached = tmp_path / "cache" / "zoo" / "celo"
    cached.mkdir(parents=True)
    (cached / "theta.safetensors").write_bytes(b"damaged")
    assert look()["weights/celo"]["fix"] == "celo zoo pull celo --force"


def test_broken_plugins(bad_plugins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bad_plugins / "celo_bad.py").write_text("import sys; sys.exit('no licence')")
    found = look()
    assert found["plugins/nan"]["status"] == found["plugins/hopeless"]["status"] == "broken"
    assert "SystemExit: no licence (celo-bad 1.0" in found["plugins/nan"]["detail"]
    assert "pip uninstall celo-bad" in found["plugins/nan"]["fix"]
    assert found["plugins/optimizers"]["status"] == "ok"
    monkeypatch.setenv("CELO_STRICT_PLUGINS", "1")
    registry.forget()
    assert look()["plugins/optimizers"]["fix"] == "unset CELO_STRICT_PLUGINS"


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A hub on this machine; nothing answers until a test does."""
    monkeypatch.delenv("HF_HUB_OFFLINE")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        port = server.getsockname()[1]
        monkeypatch.setenv("HF_ENDPOINT", f"http://me:secret@127.0.0.1:{port}")
        yield server


def network() -> dict[str, Any]:
    (check,) = (c for name, c in look().items() if name.startswith("network/"))
    assert "secret" not in json.dumps(check)
    return check


@pytest.mark.parametrize(("status", "expected"), [(200, "ok"), (404, "ok"), (503, "broken")])
def test_a_hub_that_answers(listener: socket.socket, status: int, expected: str) -> None:
    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    assert network()["status"] == expected
    thread.join(10)


def test_a_hub_that_is_silent_gets_its_time_and_no_more(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert doctor.NETWORK_SECONDS <= 3
    monkeypatch.setattr(doctor, "NETWORK_SECONDS", 0.2)
    start = time.monotonic()
    assert network()["status"] == "broken"
    monkeypatch.setattr(doctor, "_knock", lambda *_: time.sleep(1))  # a name that is looked up
    assert network()["detail"] == "no answer within 0.2 s"
    assert time.monotonic() - start < 8


def test_a_hub_that_is_not_there(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    listener.close()
    check = network()
    assert "cannot be reached" in check["detail"] and "HF_HUB_OFFLINE=1" in check["fix"]
    monkeypatch.setenv("HF_ENDPOINT", "file:///etc/passwd")
    assert network()["detail"] == "HF_ENDPOINT is no URL"


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELO_DATA_DIRS", "x")
    monkeypatch.setenv("HF_TOKEN", "secret")
    found = look()
    assert "CELO_DATA_DIR was meant" in found["environment/CELO_DATA_DIRS"]["detail"]
    assert found["environment/CELO_DATA_DIRS"]["fix"] == "unset CELO_DATA_DIRS"
    assert "folder of the cache" in found["environment/CELO_CACHE_DIR"]["detail"]
    assert "secret" not in json.dumps(found)


def test_a_check_that_falls_over_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def falls() -> Iterator[doctor.Finding]:
        yield doctor.Finding("first", "ok", "seen")
        raise KeyError("oops")

    monkeypatch.setitem(doctor.AREAS, "cache", falls)
    found = look()
    assert found["cache/first"]["status"] == "ok"
    assert "KeyError: 'oops'" in found["cache/cache"]["detail"]
    assert "data/digits" in found
