"""The wheel, installed in a fresh environment and used from another folder."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

from tests.e2e.environment import Environment


def test_the_wheel_holds_what_it_should(installed: Environment) -> None:
    names = zipfile.ZipFile(installed.wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"celo", "celo_plugins", "celo_zoo"}
    for name in (
        "celo/py.typed",
        "celo/tasks/suites/quickstart.toml",
        "celo_zoo/cards/celo.toml",
        "celo_zoo/weights/celo/theta.safetensors",
        "celo_zoo/weights/celo/card.toml",
    ):
        assert name in names
    weights = [name for name in names if name.endswith((".state", ".safetensors"))]
    assert all(re.fullmatch(r"celo_zoo/weights/[a-z0-9-]+/theta.safetensors", w) for w in weights)


def test_it_runs_from_another_folder(installed: Environment, tmp_path: Path) -> None:
    where = installed.run("python", "-c", "import celo; print(celo.__file__)", cwd=tmp_path)
    assert str(installed.bin.parent) in where.stdout
    listed = installed.run("celo", "plugins", "list", "--format", "json", cwd=tmp_path)
    records = json.loads(listed.stdout)
    assert {"celo", "adam"} <= {record["name"] for record in records}
    assert all(record["status"] == "ok" for record in records)
    assert len(records) == len({record["name"] for record in records})


def test_the_main_job_runs_from_the_wheel(installed: Environment, tmp_path: Path) -> None:
    done = installed.run(
        *("celo", "eval", "--optimizers", "sgd:lr=0.1", "--reference", "sgd:lr=0.1"),
        *("--suite", "quickstart", "--task", "Digits_MLP_32", "--steps", "20", "--seeds", "0"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "sgd:lr=0.1" in done.stdout
    assert (tmp_path / "celo-runs" / "quickstart" / "run.json").exists()
