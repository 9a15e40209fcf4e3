from __future__ import annotations

import sys
from importlib import metadata

import pytest

from celo import registry
from celo.errors import BrokenPluginError, UnknownNameError
from celo.records import OptimizerPlugin, Suite

SOURCE = """
from celo.records import OptimizerPlugin
def record(name, **kwargs):
    return OptimizerPlugin(name=name, kind="hand-crafted", summary="s", build="x:y", **kwargs)
good = record("lion-cub", aliases=("big_cat",))
clash = record("adam")
old = record("old", api_version=0)
several = (record("one"), record("two"))
wrong = 3
"""


class _Dist:
    def __init__(self, name: str):
        self.name, self.version = name, "1.0"


def _point(name: str, value: str, dist: str) -> metadata.EntryPoint:
    point = metadata.EntryPoint(name, value, "celo.optimizers")
    object.__setattr__(point, "dist", _Dist(dist))
    return point


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    (tmp_path / "some_plugins.py").write_text(SOURCE)
    (tmp_path / "exits_plugin.py").write_text("import sys; print('noise'); sys.exit(3)")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("CELO_PLUGINS", raising=False)
    monkeypatch.delenv("CELO_STRICT_PLUGINS", raising=False)
    ours = tuple(metadata.entry_points(group="celo.optimizers"))
    points: list[metadata.EntryPoint] = []

    def entry_points(group: str):
        return (*ours, *points) if group == "celo.optimizers" else ()

    monkeypatch.setattr(metadata, "entry_points", entry_points)
    registry.forget()
    yield points
    registry.forget()
    for module in ("some_plugins", "exits_plugin"):
        sys.modules.pop(module, None)


def test_ours_come_through_entry_points() -> None:
    found = registry.optimizer("celo")
    assert found.origin.distribution == "celo"
    assert found.record.build.startswith("celo_plugins.")


def test_spelling_and_aliases(plugins) -> None:
    plugins.append(_point("lion-cub", "some_plugins:good", "celo-lion"))
    for name in ("lion-cub", "Lion_Cub", "big-cat", "Big_Cat"):
        assert registry.optimizer(name).record.name == "lion-cub"
    assert registry.optimizer("celo_adam").record.name == "celo-adam"


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as error:
        registry.optimizer("adamm")
    assert "adam" in (error.value.hint or "")
    assert error.value.exit_code == 2


def test_one_entry_point_may_bring_several(plugins) -> None:
    plugins.append(_point("all", "some_plugins:several", "third"))
    assert {"one", "two"} <= set(registry.optimizers().names())


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("some_plugins:old", "API version 0"),
        ("some_plugins:wrong", "expected OptimizerPlugin"),
        ("some_plugins:missing", "AttributeError"),
        ("no_such_module:x", "ModuleNotFoundError"),
        ("exits_plugin:x", "SystemExit"),
    ],
)
def test_a_broken_plugin_harms_nobody(plugins, value: str, reason: str, capsys) -> None:
    plugins.append(_point("bad", value, "third"))
    group = registry.optimizers()
    assert "celo" in group.names()
    assert [reason in broken.reason for broken in group.broken] == [True]
    with pytest.raises(BrokenPluginError, match="bad"):
        registry.optimizer("bad")
    assert capsys.readouterr().out == ""


def test_a_failed_discovery_is_not_kept(plugins) -> None:
    plugins.append(_point("bad", "no_such_module:x", "third"))
    assert registry.optimizers().broken
    plugins[:] = [_point("lion-cub", "some_plugins:good", "third")]
    assert "lion-cub" in registry.optimizers().names()


def test_strict_raises(plugins, monkeypatch) -> None:
    plugins.append(_point("bad", "no_such_module:x", "third"))
    monkeypatch.setenv("CELO_STRICT_PLUGINS", "1")
    with pytest.raises(ModuleNotFoundError):
        registry.optimizers()


def test_ours_win_clashes_and_the_source_picks(plugins) -> None:
    plugins.append(_point("adam", "some_plugins:clash", "celo-lion"))
    assert registry.optimizer("adam").origin.distribution == "celo"
    assert registry.optimizer("adam", "celo_lion").origin.distribution == "celo-lion"
    with pytest.raises(UnknownNameError, match="in elsewhere"):
        registry.optimizer("adam", "elsewhere")


def test_the_environment_chooses_distributions(plugins, monkeypatch) -> None:
    plugins.append(_point("lion-cub", "some_plugins:good", "celo-lion"))
    monkeypatch.setenv("CELO_PLUGINS", "")
    assert "lion-cub" not in registry.optimizers().names()
    assert "celo" in registry.optimizers().names()
    monkeypatch.setenv("CELO_PLUGINS", "celo_lion")
    assert "lion-cub" in registry.optimizers().names()


def test_every_record_of_ours_is_well_formed() -> None:
    for group in (
        registry.optimizers(),
        registry.tasks(),
        registry.suites(),
        registry.data_sets(),
        registry.metrics(),
    ):
        assert not group.broken
        assert group.found
    for found in registry.optimizers():
        record = found.record
        assert isinstance(record, OptimizerPlugin)
        assert record.summary
        assert record.citation or record.kind == "hand-crafted"
        assert record.grid is None or record.kind == "hand-crafted"
    for found in registry.suites():
        suite = found.record
        assert isinstance(suite, Suite)
        for task in suite.tasks:
            assert registry.task(task).record.name == task
    for found in registry.tasks():
        registry.data_set(found.record.data_set)
