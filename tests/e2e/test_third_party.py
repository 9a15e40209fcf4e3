"""Packages of strangers, installed with pip beside the wheel: every command knows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.environment import Environment


def _json(installed: Environment, cwd: Path, *arguments: str) -> Any:
    done = installed.run("celo", *arguments, "--format", "json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_list_knows_them(installed: Environment, tmp_path: Path) -> None:
    plugins = _json(installed, tmp_path, "plugins", "list")
    theirs = {r["name"] for r in plugins if r["origin"]["distribution"] == "celo-lion"}
    assert theirs == {"lion-cub", "tensor-steps"}
    assert all(record["status"] == "ok" for record in plugins)
    shown = _json(installed, tmp_path, "plugins", "show", "LION_CUB")
    assert shown["origin"]["version"] == "0.1.0" and shown["grid"]["hyperparameter"] == "lr"
    tasks = _json(installed, tmp_path, "tasks", "list", "--suite", "lion-mini")
    assert {task["distribution"] for task in tasks} == {"celo-lion"} and len(tasks) == 2
    suite = _json(installed, tmp_path, "suites", "show", "lion-mini")
    assert suite["tasks"] == [task["name"] for task in tasks]
    assert "binary_digits" in {row["name"] for row in _json(installed, tmp_path, "data", "list")}
    [verified] = _json(installed, tmp_path, "data", "verify", "binary_digits")
    assert verified["status"] == "here" and verified["fingerprint"]


@pytest.mark.slow
def test_they_are_compared_on_their_own_suite(installed: Environment, tmp_path: Path) -> None:
    done = installed.run(
        *("celo", "eval", "-o", "lion-cub:lr=0.01,tensor-steps@random:0", "--suite", "lion-mini"),
        *("--task", "BinaryDigits_Linear", "--reference", "lion-cub:lr=0.01"),
        *("--steps", "30", "--seeds", "0"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    for name in ("lion-cub:lr=0.01", "tensor-steps@random:0", "BinaryDigits_Linear: real"):
        assert name in done.stdout
    assert (tmp_path / "celo-runs" / "lion-mini" / "run.json").exists()
    report = ("report", "celo-runs/lion-mini", "--metrics", "steadiness:slack=0.5")
    rows = _json(installed, tmp_path, *report)["aggregate"]
    assert {row["metric"] for row in rows} >= {"steadiness_iqm", "steadiness_mean"}
    assert all(0.0 < row["value"] <= 1.0 for row in rows if row["metric"] == "steadiness_iqm")
    unknown = installed.run("celo", "eval", "-o", "tensor-steps", "-t", "lion", cwd=tmp_path)
    assert unknown.returncode == 2 and "unknown task 'lion'" in unknown.stderr


@pytest.mark.slow
def test_a_strangers_optimizer_is_meta_trained_on_its_own_suite(
    installed: Environment, tmp_path: Path
) -> None:
    train = [
        *("celo", "meta-train", "--plugin", "tensor-steps", "--suite", "lion-mini"),
        *("--particles", "2", "--trunc", "5", "--unroll", "5:20", "--sigma", "0.1"),
        *("--outer-lr", "0.05", "--iterations", "6", "--log-every", "2", "--output", "steps"),
    ]
    done = installed.run(*train, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "steps/log.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows] == [2, 4, 6]
    families = {"BinaryDigits_Linear", "BinaryDigits_Linear_bs8"}
    assert all(row["family_loss"].keys() == families and row["delta"] > 0 for row in rows)
    shown = installed.run("celo", "report", "steps", cwd=tmp_path)
    assert shown.returncode == 0 and "tensor-steps 1" in shown.stdout and "6/6" in shown.stdout
    added = installed.run(
        *("celo", "zoo", "add", "steps", "--name", "cub-steps", "--to", "zoo"), cwd=tmp_path
    )
    assert added.returncode == 0, added.stderr
    card = (tmp_path / "zoo" / "cub-steps" / "card.toml").read_text()
    assert 'optimizer = "tensor-steps"' in card and "6 iterations" in card
    compared = installed.run(
        *("celo", "eval", "-o", "tensor-steps@zoo/cub-steps", "-t", "BinaryDigits_Linear"),
        *("--steps", "10", "--seeds", "0", "--reference", "none"),
        cwd=tmp_path,
    )
    assert compared.returncode == 0, compared.stderr
    assert "tensor-steps@zoo/cub-steps" in compared.stdout


def test_they_are_checked_like_ours(installed: Environment, tmp_path: Path) -> None:
    assert _json(installed, tmp_path, "plugins", "check", "binary_digits")["ok"]


def test_listing_them_imports_no_jax(installed: Environment, tmp_path: Path) -> None:
    code = (
        "import sys; from celo import registry\n"
        "registry.optimizer('lion-cub'), registry.suite('lion-mini'), registry.data_set('digits')\n"
        "print(sorted({'jax', 'optax', 'numpy', 'sklearn'} & set(sys.modules)))"
    )
    done = installed.run("python", "-c", code, cwd=tmp_path)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.slow
def test_the_examples_own_tests_pass(installed: Environment) -> None:
    _run_tests(installed, installed.lion, passed=11)


@pytest.mark.slow
def test_generated_packages_pass_their_own_tests(installed: Environment) -> None:
    _run_tests(installed, installed.generated, passed=4)


def test_generated_packages_are_found(installed: Environment, tmp_path: Path) -> None:
    records = {r["name"]: r for r in _json(installed, tmp_path, "plugins", "list")}
    assert records["fast-sign"]["origin"]["distribution"] == "celo-fast-sign"
    assert records["two-numbers"]["kind"] == "learned"


def _run_tests(installed: Environment, folder: Path, *, passed: int) -> None:
    command = ["python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    done = installed.run(*command, str(folder), cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{passed} passed" in done.stdout
