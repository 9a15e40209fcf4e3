"""The main job on a machine that has nothing: no network, no cache, no data, no settings."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.environment import Environment

EVAL = [
    *("eval", "--optimizers", "celo,adam:lr=1e-3", "--suite", "quickstart"),
    *("--steps", "20", "--reference", "none"),
]
_LOCAL_FOLDERS = ("PATH", "LANG", "LD_LIBRARY_PATH", "TMPDIR")


@pytest.fixture
def silence() -> Iterator[str]:
    """A proxy that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def _celo(
    installed: Environment, home: Path, *arguments: str, **more: str
) -> subprocess.CompletedProcess[str]:
    """`celo` with an empty home and nothing set; nobody listens where the proxy should be."""
    home.mkdir(exist_ok=True)
    kept = {name: os.environ[name] for name in _LOCAL_FOLDERS if name in os.environ}
    proxies = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    return subprocess.run(
        [installed.bin / "celo", *arguments],
        cwd=home,
        env={**kept, "HOME": str(home), **proxies, **more},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_celo_is_compared_with_adam(installed: Environment, tmp_path: Path) -> None:
    done = _celo(installed, tmp_path / "home", *EVAL)
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stderr.splitlines() if "gets them" in line]
    assert line.startswith("celo[bundled]: weights ") and "`celo zoo pull celo`" in line
    assert "the hub cannot be reached" in line and "Traceback" not in done.stderr
    rows = [row.split() for row in done.stdout.splitlines() if row.strip()]
    assert {row[0] for row in rows} >= {"celo[bundled]", "adam:lr=0.001"}
    run = tmp_path / "home" / "celo-runs" / "quickstart"
    identity = json.loads((run / "identity.json").read_text())
    assert identity["origins"] == {"celo": "bundled"}
    # Everything that reads the run says it too, and reading needs no weights.
    for format_ in ("markdown", "csv", "latex"):
        shown = _celo(installed, tmp_path / "home", "report", str(run), "--format", format_)
        assert shown.returncode == 0 and "celo[bundled]" in shown.stdout, shown.stderr
    value = json.loads(
        _celo(installed, tmp_path / "home", "report", str(run), "--format", "json").stdout
    )
    facts = value["provenance"]["optimizers"]["celo"]
    assert facts["label"] == "celo[bundled]" and facts["weights_source"]["origin"] == "bundled"


@pytest.mark.slow
def test_nobody_waits_for_a_network_that_is_silent(
    installed: Environment, tmp_path: Path, silence: str
) -> None:
    began = time.monotonic()
    planned = _celo(
        *(installed, tmp_path / "home", *EVAL, "--dry-run", "--format", "json"),
        **dict.fromkeys(("HTTPS_PROXY", "ALL_PROXY"), silence),
    )
    assert planned.returncode == 0, planned.stderr
    [celo, _] = json.loads(planned.stdout)["optimizers"]
    assert (celo["label"], celo["origin"]) == ("celo[bundled]", "bundled")
    assert time.monotonic() - began < 30


def test_the_doctor_and_the_zoo_know_them(installed: Environment, tmp_path: Path) -> None:
    examined = _celo(installed, tmp_path / "home", "doctor", "--format", "json")
    checks = {c["name"]: c for c in json.loads(examined.stdout)["checks"] if c["area"] == "weights"}
    assert checks["bundled:celo"]["status"] == "ok"
    assert checks["celo"]["detail"] == "not on this machine; bundled:celo stands in"
    assert checks["celo"]["fix"] == "celo zoo pull celo"
    shown = _celo(installed, tmp_path / "home", "zoo", "show", "bundled:celo")
    assert shown.returncode == 0 and "bundled (verified)" in shown.stdout
    assert "Apache-2.0" in shown.stdout and "device-hours" in shown.stdout
