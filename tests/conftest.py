"""Every test runs with a cache of its own; the user's is neither read nor touched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="session")
def isolated_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setenv("CELO_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    patch.setenv("JAX_PLATFORMS", os.environ.get("JAX_PLATFORMS", "cpu"))
    for name in ("CELO_DATA_DIR", "CELO_PLUGINS", "CELO_STRICT_PLUGINS"):
        patch.delenv(name, raising=False)
    yield
    patch.undo()


@pytest.fixture
def bad_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution whose optimizers misbehave, importable here and by child processes."""
    from celo import registry

    folder = tmp_path / "site"
    info = folder / "celo_bad-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: celo-bad\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[celo.optimizers]\n"
        + "".join(f"{n} = celo_bad:{n.upper()}\n" for n in ("nan", "raises", "nonesuch"))
        + "[celo.tasks]\nhopeless = celo_bad:HOPELESS\n"
    )
    (folder / "celo_bad.py").write_text(_BAD_PLUGINS)
    monkeypatch.syspath_prepend(str(folder))
    inherited = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", str(folder) + (f":{inherited}" if inherited else ""))
    registry.forget()
    yield folder  # pyright: ignore[reportReturnType]
    registry.forget()


_BAD_PLUGINS = """
from celo.records import Hyperparameter, OptimizerPlugin, TaskPlugin


def record(name):
    return OptimizerPlugin(
        name=name, kind="hand-crafted", summary="misbehaves", build=f"celo_bad:build_{name}",
        hyperparameters=(Hyperparameter("at", "int", 5, low=0),),
    )


NAN, RAISES, NONESUCH = record("nan"), record("raises"), record("nonesuch")
HOPELESS = TaskPlugin(
    name="Hopeless", family="test", summary="its loss is NaN from the start",
    build="celo_bad:build_task", data_set="digits", batch_size=64, parameters=2410,
)


def build_nan(at=5):
    import jax, jax.numpy as jnp, optax
    from celo.optim import from_optax

    def update(updates, count, params=None):
        factor = jnp.where(count == at, jnp.nan, -0.01)
        return jax.tree.map(lambda u: factor * u, updates), count + 1

    return from_optax(optax.GradientTransformation(lambda p: jnp.int32(0), update), name="nan")


def build_raises(at=5):
    raise RuntimeError("no more ideas")


def build_task(name, data, **config):
    from celo import registry
    from celo.tasks import build_task

    task = build_task(registry.task("Digits_MLP_32").record, data)
    plain = task.loss_with_state
    task.loss_with_state = lambda p, s, k, d: (plain(p, s, k, d)[0] * float("nan"), s)
    return task
"""


@pytest.fixture
def foreign_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A distribution with metrics of its own, good ones and others."""
    from celo import registry

    folder = tmp_path / "site"
    info = folder / "celo_gauge-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: celo-gauge\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[celo.metrics]\ngauge = celo_gauge_records:METRICS\n")
    (folder / "celo_gauge_records.py").write_text(_FOREIGN_RECORDS)
    (folder / "celo_gauge.py").write_text(_FOREIGN_METRICS)
    monkeypatch.syspath_prepend(str(folder))
    inherited = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", str(folder) + (f":{inherited}" if inherited else ""))
    registry.forget()
    yield folder
    registry.forget()


_FOREIGN_RECORDS = """
from celo.records import Hyperparameter, Metric

METRICS = tuple(
    Metric(name=name, summary=f"the metric {name}", compute=f"celo_gauge:{name}", **fields)
    for name, fields in {
        "drop": dict(
            better="higher",
            options=(Hyperparameter("factor", "float", 1.0, low=0.0, help="times the drop"),),
        ),
        "last": dict(better="lower"),
        "count": dict(kind="comparison"),
        "raises": {}, "nan": {}, "text": {},
        "nothing": dict(kind="comparison"),
    }.items()
)
"""

_FOREIGN_METRICS = """
from celo.metrics.views import Profile, Result, Value


def drop(run, reference, factor=1.0):
    return None if run.status == "failed" else factor * float(run.losses[0] - run.losses[-1])


def last(run, reference):
    return float(run.losses[-1])


def count(results):
    runs = dict.fromkeys(results.optimizers, 0)
    for (optimizer, _), by_seed in results.runs.items():
        runs[optimizer] += len(by_seed)
    return Result({o: {"runs": Value(float(n))} for o, n in runs.items()}, notes=("counted",))


def raises(run, reference):
    raise RuntimeError("no idea")


def nan(run, reference):
    return float("nan")


def text(run, reference):
    return "good"


def nothing(results):
    return {}
"""
