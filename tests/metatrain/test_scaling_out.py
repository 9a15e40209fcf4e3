"""Several devices and several processes make the numbers of one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.shared_folder import REPOSITORY

pytestmark = pytest.mark.slow
COMMAND = [sys.executable, "-m", "tests.metatrain.scaled_out"]


def environment(devices: int) -> dict[str, str]:
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    return {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    done = subprocess.run(
        [*COMMAND, "devices"],
        cwd=REPOSITORY,
        env=environment(8),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def cosine(a: Any, b: Any) -> float:
    a, b = np.asarray(a), np.asarray(b)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_eight_devices_and_one(found: dict[str, Any]) -> None:
    one, eight = found["one"], found["eight"]
    assert (one["devices"], eight["devices"]) == (1, 8)
    np.testing.assert_allclose(eight["losses"], one["losses"], atol=2e-5)
    np.testing.assert_allclose(eight["reduced"], one["reduced"], rtol=1e-5, atol=1e-7)
    assert eight["gradient"] == pytest.approx(one["gradient"], rel=1e-5)
    assert cosine(eight["moved"], one["moved"]) >= 0.99
    assert np.linalg.norm(one["moved"]) > 0.05


def test_a_run_goes_on_with_another_number_of_devices(found: dict[str, Any]) -> None:
    assert cosine(found["resumed"]["moved"], found["one"]["moved"]) >= 0.99


def test_two_processes_and_one(found: dict[str, Any], tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    running = [
        subprocess.Popen(
            [*COMMAND, "process", str(number), str(port), str(tmp_path)],
            cwd=REPOSITORY,
            env=environment(1),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in (0, 1)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], "\n".join(outputs)
    results = [json.loads((tmp_path / f"result-{number}.json").read_text()) for number in (0, 1)]
    assert results[0]["moved"] == results[1]["moved"]
    assert cosine(results[0]["moved"], found["one"]["moved"]) >= 0.99
    assert results[0]["loss"] == pytest.approx(found["one"]["loss"], abs=1e-3)
    assert (tmp_path / "run" / "theta.safetensors").exists()
