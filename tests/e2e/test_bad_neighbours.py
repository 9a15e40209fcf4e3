"""Broken packages beside ours: each is one row with a reason, and everything else works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from celo import registry
from celo.errors import BrokenPluginError
from tests.cli.process import celo
from tests.e2e.neighbours import (
    BROKEN,
    GHOST,
    NOISY,
    NOISY_IMPLEMENTATION,
    Neighbour,
    path_with,
)

OURS = {p.name for p in metadata.distribution("celo").entry_points.select(group="celo.optimizers")}
Celo = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site"


@pytest.fixture
def run(site: Path) -> Celo:
    """Runs `celo` with the neighbours of `site` installed."""

    def celo_beside(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        limit = {"CELO_PLUGIN_TIME_LIMIT": "1"}
        return celo(*arguments, PYTHONPATH=path_with(site), **{**limit, **environment})

    return celo_beside


def _rows(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("neighbour", BROKEN, ids=lambda n: n.name)
def test_a_broken_neighbour_is_one_row(neighbour: Neighbour, site: Path, run: Celo) -> None:
    neighbour.install(site)
    rows = _rows(run("plugins", "list", "--format", "json"))
    assert {row["name"] for row in rows if row["status"] == "ok"} == OURS
    [broken] = [row for row in rows if row["status"] != "ok"]
    assert broken["status"].startswith("broken: ") and neighbour.reason in broken["status"]
    assert broken["origin"]["distribution"].replace("_", "-") == f"bad-{neighbour.name}"
    shown = run("plugins", "list")
    assert [neighbour.reason in line for line in shown.stdout.splitlines()].count(True) == 1


# Beside unreadable entry points JAX itself does not start: it looks for plugins of its own.
READABLE = [n for n in BROKEN if "entry_points.txt" not in n.reason and n.name != "swallows"]


@pytest.mark.slow
def test_everything_works_beside_all_of_them(site: Path, run: Celo, tmp_path: Path) -> None:
    groups = ("optimizers", "tasks", "suites", "data")
    for neighbour in (*READABLE, GHOST, NOISY):
        everywhere = "".join(f"[celo.{g}]\nx = {neighbour.module}:RECORD\n" for g in groups)
        points = everywhere.encode() if neighbour.name in ("hangs", "raises") else neighbour.points
        replace(neighbour, points=points).install(site)
    (site / "bad_noisy_implementation.py").write_text(NOISY_IMPLEMENTATION)
    for command in ("tasks", "suites", "data"):
        assert _rows(run(command, "list", "--format", "json"))
    assert "tuned over" in run("plugins", "show", "adam").stdout
    assert run("suites", "show", "quickstart").returncode == 0
    done = run(
        *("eval", "-o", "noisy,ghost", "--reference", "none", "--task", "Digits_MLP_32"),
        *("--steps", "5", "--seeds", "0", "--output", str(tmp_path / "run"), "--format", "json"),
    )
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout)
    assert "noise" not in done.stdout
    # An implementation that is missing is said where it is used.
    assert "'bad_elsewhere:build' cannot be imported: ModuleNotFoundError" in done.stderr


def test_what_neighbours_print_is_dropped(site: Path, run: Celo) -> None:
    NOISY.install(site)
    rows = _rows(run("plugins", "list", "--format", "json"))
    assert {row["name"] for row in rows if row["status"] == "ok"} == OURS | {"noisy"}
    assert "noise" not in run("plugins", "list").stdout


def test_a_broken_one_is_named_at_use(site: Path, run: Celo) -> None:
    BROKEN[0].install(site)
    done = run("eval", "-o", "bad-raises", "--task", "Digits_MLP_32")
    assert done.returncode == 1
    assert "'bad-raises' of bad-raises 1.0 is broken: RuntimeError: no licence" in done.stderr
    assert "is broken" in run("plugins", "show", "bad-raises:bad-raises").stderr
    elsewhere = run("plugins", "show", "celo:bad-raises")
    assert elsewhere.returncode == 2 and "in celo" in elsewhere.stderr


def test_help_imports_no_plugin(site: Path, run: Celo, tmp_path: Path) -> None:
    marker = tmp_path / "imported"
    source = f"open({str(marker)!r}, 'w').close()\nwhile True: pass"
    Neighbour("marks", source).install(site)
    for arguments in (["--help"], ["--version"], ["eval", "--help"], ["plugins", "--help"]):
        assert run(*arguments).returncode == 0
        assert not marker.exists(), arguments
    run("plugins", "list")
    assert marker.exists()


def test_ours_win_clashes_and_the_source_picks(site: Path, run: Celo) -> None:
    source = """
from celo.records import OptimizerPlugin
def record(name):
    return OptimizerPlugin(name=name, kind="hand-crafted", summary=__name__, build="x:y")
RECORD = record("Adam"), record("panther")
"""
    Neighbour("zeta", source).install(site)
    Neighbour("alpha", source).install(site)
    shown = {
        name: json.loads(run("plugins", "show", name, "--format", "json").stdout)
        for name in ("adam", "bad-alpha:adam", "bad_zeta:adam", "panther", "bad-zeta:panther")
    }
    homes = {name: value["origin"]["distribution"] for name, value in shown.items()}
    assert homes == {
        "adam": "celo",
        "bad-alpha:adam": "bad-alpha",
        "bad_zeta:adam": "bad-zeta",
        "panther": "bad-alpha",
        "bad-zeta:panther": "bad-zeta",
    }
    listed = run("plugins", "list").stdout
    assert listed.count("(the name belongs to another package)") == 3
    assert "bad-zeta:panther" in listed and "bad-alpha:panther" not in listed
    names = {row["name"] for row in _rows(run("plugins", "list", "--format", "json"))}
    assert names == OURS | {"panther", "bad-alpha:Adam", "bad-zeta:Adam", "bad-zeta:panther"}
    elsewhere = run("plugins", "show", "bad-gamma:adam")
    assert elsewhere.returncode == 2 and "in bad-gamma" in elsewhere.stderr


CLASHES = """
from dataclasses import replace
from celo.data.records import DATA_SETS
from celo.records import Suite
from celo.tasks.records import DIGITS_TASKS
TASK = replace(DIGITS_TASKS[0], summary="another", family="strange")
SUITE = Suite("quickstart", ("bad-zeta:digits-mlp-32",), 5, "another")
DATA = replace(next(d for d in DATA_SETS if d.name == "digits"), summary="another")
"""
POINTS = b"""
[celo.tasks]
t = bad_zeta:TASK
[celo.suites]
s = bad_zeta:SUITE
[celo.data]
d = bad_zeta:DATA
"""


@pytest.mark.parametrize(
    ("command", "name"),
    [("tasks", "Digits_MLP_32"), ("suites", "quickstart"), ("data", "digits")],
)
def test_what_lost_its_name_is_listed_and_can_be_picked(
    command: str, name: str, site: Path, run: Celo
) -> None:
    Neighbour("zeta", CLASHES, points=POINTS).install(site)
    rows = {row["name"]: row for row in _rows(run(command, "list", "--format", "json"))}
    assert rows[name]["summary"] != rows[f"bad-zeta:{name}"]["summary"] == "another"
    [line] = [text for text in run(command, "list").stdout.splitlines() if "bad-zeta" in text]
    assert line.startswith(f"bad-zeta:{name} ") and "the name belongs to another" in line
    verb = "verify" if command == "data" else "show"
    for text, home in ((name, name), (f"BAD_zeta:{name}", f"bad-zeta:{name}")):
        shown = json.loads(run(command, verb, text, "--format", "json").stdout)
        assert (shown[0] if verb == "verify" else shown)["name"] == home
    elsewhere = run(command, verb, f"bad-gamma:{name}")
    assert elsewhere.returncode == 2 and "in bad-gamma" in elsewhere.stderr


def test_results_on_a_task_that_lost_its_name_stay_apart(
    site: Path, run: Celo, tmp_path: Path
) -> None:
    Neighbour("zeta", CLASHES, points=POINTS).install(site)
    done = run(
        *("eval", "-o", "sgd:lr=0.1", "--reference", "none", "--steps", "5", "--seeds", "0"),
        *("-t", "Digits_MLP_32", "-t", "bad-zeta:digits-mlp-32", "--output", str(tmp_path / "run")),
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "run" / "cells").glob("*/*/*.npz"))) == 2
    [suite] = _rows(run("tasks", "list", "--suite", "bad-zeta:quickstart", "--format", "json"))
    assert (suite["name"], suite["family"]) == ("bad-zeta:Digits_MLP_32", "strange")


@pytest.mark.parametrize("command", ["tasks", "suites", "data"])
def test_a_broken_entry_of_any_kind_is_one_row(command: str, site: Path, run: Celo) -> None:
    point = f"[celo.{command}]\nbad = bad_raises:RECORD\n".encode()
    replace(BROKEN[0], points=point).install(site)
    [row] = [r for r in _rows(run(command, "list", "--format", "json")) if r["name"] == "bad"]
    assert row["status"] == "broken: RuntimeError: no licence"
    assert row["distribution"] == "bad-raises"
    [line] = [text for text in run(command, "list").stdout.splitlines() if "bad " in text]
    assert "broken: RuntimeError: no licence" in line


@pytest.fixture
def here(site: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the neighbours of `site` visible in this process."""
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    registry.forget()
    yield site
    registry.forget()
    for name in [name for name in sys.modules if name.startswith("bad_")]:
        del sys.modules[name]


def test_a_failed_discovery_is_not_cached(here: Path, tmp_path: Path) -> None:
    flag = tmp_path / "disk"
    source = (
        f"import os\nif not os.path.exists({str(flag)!r}): raise OSError('the disk is away')\n"
        "from celo.records import OptimizerPlugin\n"
        "RECORD = OptimizerPlugin('bad-away', 'hand-crafted', 's', 'x:y')\n"
    )
    Neighbour("away", source).install(here)
    with pytest.raises(BrokenPluginError, match="the disk is away"):
        registry.optimizer("bad-away")
    flag.touch()
    assert registry.optimizer("bad-away").record.name == "bad-away"


def test_what_hangs_is_waited_for_once(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELO_PLUGIN_TIME_LIMIT", "0.2")
    times = tmp_path / "times"
    source = f"with open({str(times)!r}, 'a') as f: f.write('.')\nwhile True: pass"
    points = b"[celo.optimizers]\na = bad_slow:A\nb = bad_slow:B\n[celo.tasks]\nc = bad_slow:C\n"
    Neighbour("slow", source, points=points).install(here)
    for _ in range(2):
        assert [broken.name for broken in registry.optimizers().broken] == ["a", "b"]
        assert [broken.name for broken in registry.tasks().broken] == ["c"]
    assert times.read_text() == "."
    registry.forget()
    assert registry.optimizers().broken
    assert times.read_text() == ".."


@pytest.mark.parametrize("neighbour", [n for n in BROKEN if n.points or n.metadata is not None])
def test_strict_raises_for_damaged_metadata(
    neighbour: Neighbour, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    neighbour.install(here)
    monkeypatch.setenv("CELO_STRICT_PLUGINS", "1")
    with pytest.raises(Exception):  # noqa: B017  (what the standard library raises differs)
        registry.optimizers()


def test_unused_distributions_cost_nothing(site: Path, run: Celo, tmp_path: Path) -> None:
    marker = tmp_path / "imported"
    Neighbour("marks", f"open({str(marker)!r}, 'w').close()").install(site)
    rows = _rows(run("plugins", "list", "--format", "json", CELO_PLUGINS=""))
    assert {row["name"] for row in rows} == OURS
    assert not marker.exists() and os.listdir(site)
