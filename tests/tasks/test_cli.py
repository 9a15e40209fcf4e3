from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest
from click import Group
from click.testing import CliRunner, Result

from celo import registry
from celo.cli.suites import command as suites
from celo.cli.tasks import command as tasks
from celo.errors import UnknownNameError


def _run(command: Group, *arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=False)


def test_tasks_list() -> None:
    """A table a family; every line fits a terminal."""
    lines = _run(tasks, "list").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    (number,) = (i for i, line in enumerate(lines) if line.startswith("FastVelo_mnist "))
    assert lines[number].split() == ["FastVelo_mnist", "mnist", "64", "2,410"]
    titles = [i for i, line in enumerate(lines) if line == "MLP classifier"]
    assert len(titles) == 1 and titles[0] < number
    assert "" not in lines[titles[0] + 2 : number]
    lopt = next(line for line in lines if line.startswith("LOpt_AdafacMLPLOpt_FashionMnist_50 "))
    assert lopt.split()[1:] == ["fashion_mnist", "50x128", "197"]


def test_tasks_of_a_suite_in_its_order() -> None:
    records = json.loads(_run(tasks, "list", "--suite", "quickstart", "--format", "json").stdout)
    names = [
        "Digits_MLP_32",
        "Digits_MLP_LayerNorm_64x64",
        "Digits_Conv_16x32",
        "Digits_AE_32x8x32",
    ]
    assert [record["name"] for record in records] == names
    assert all("quickstart" in record["suites"] for record in records)


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


@pytest.mark.parametrize("name", ["velodrome", "all"])
def test_long_suites_fit_a_terminal(name: str) -> None:
    shown = _run(suites, "show", name).stdout
    assert max(map(len, shown.splitlines())) <= 80
    record = json.loads(_run(suites, "show", name, "--format", "json").stdout)
    assert record["suite_version"] == 1
    assert f"{name}, version 1" in shown
    assert "provenance: " in shown
    assert shown.count("left out: ") == len(record["left_out"]) == (2 if name == "all" else 0)


def test_suites_may_name_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    group = registry.suites()
    odd = dataclasses.replace(group.found["quickstart"].record, tasks=("Nobodys_Task",))
    entry = dataclasses.replace(group.found["quickstart"], record=odd)
    changed = dataclasses.replace(group, found={"quickstart": entry})
    monkeypatch.setattr(registry, "suites", lambda: changed)
    line = _run(suites, "show", "quickstart").stdout.splitlines()[-1]
    assert line.split() == ["Nobodys_Task", "not", "installed", "-"]


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
