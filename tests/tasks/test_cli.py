from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click import Group
from click.testing import CliRunner, Result

from celo.cli.suites import command as suites
from celo.cli.tasks import command as tasks
from celo.errors import UnknownNameError


def _run(command: Group, *arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=False)


def test_tasks_list() -> None:
    lines = _run(tasks, "list").stdout.splitlines()
    (line,) = (line for line in lines if line.startswith("FastVelo_mnist "))
    assert line.split() == ["FastVelo_mnist", "MLP", "classifier", "mnist", "64", "2,410"]


def test_tasks_of_a_suite_in_its_order() -> None:
    records = json.loads(_run(tasks, "list", "--suite", "quickstart", "--format", "json").stdout)
    names = [
        "Digits_MLP_32",
        "Digits_MLP_LayerNorm_64x64",
        "Digits_Conv_16x32",
        "Digits_AE_32x8x32",
    ]
    assert [record["name"] for record in records] == names
    assert all(record["suites"] == ["quickstart"] for record in records)


def test_tasks_show_takes_any_spelling() -> None:
    shown = json.loads(_run(tasks, "show", "fastvelo-MNIST", "--format", "json").stdout)
    assert shown["schema"] == 1
    assert shown["name"] == "FastVelo_mnist"
    assert shown["config"]["image_size"] == [8, 8]
    assert "64-32-10" in _run(tasks, "show", "FastVelo_mnist").stdout


def test_suites_list_and_show() -> None:
    assert "quickstart" in _run(suites, "list").stdout
    listed = {r["name"]: r for r in json.loads(_run(suites, "list", "--format", "json").stdout)}
    assert listed["mlp-mini"]["steps"] == 2000
    shown = json.loads(_run(suites, "show", "mlp-mini", "--format", "json").stdout)
    assert shown["schema"] == 1
    assert shown["tasks"] == listed["mlp-mini"]["tasks"]
    result = _run(suites, "show", "quickstart")
    assert "Digits_Conv_16x32" in result.stdout
    assert "200 steps" in result.stdout


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        _run(tasks, "show", "FastVelo_mnits")
    assert "FastVelo_mnist" in (caught.value.hint or "")
    with pytest.raises(UnknownNameError, match="unknown suite 'quick'"):
        _run(suites, "show", "quick")


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from celo.cli.tasks import command as t;"
        "from celo.cli.suites import command as s;"
        "t.main(['list'], standalone_mode=False); s.main(['list'], standalone_mode=False);"
        "import celo.data, celo.data.records, celo.tasks.records;"
        "assert not {'jax', 'numpy', 'haiku', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
