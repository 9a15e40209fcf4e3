"""The records say what the implementations take."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo.records import OptimizerPlugin, canonical_name
from celo.testing.compiling import compiled
from celo_plugins import records
from celo_plugins.records.handcrafted import LEARNING_RATES
from celo_plugins.shampoo import ShampooConfig

MODULES = [
    importlib.import_module(f"{records.__name__}.{module.name}")
    for module in pkgutil.iter_modules(records.__path__)
]
RECORDS = [r for m in MODULES for r in vars(m).values() if isinstance(r, OptimizerPlugin)]
HANDCRAFTED = [r for r in RECORDS if r.kind == "hand-crafted"]
TUNED = [r for r in HANDCRAFTED if r.grid]
LEARNED = [r for r in RECORDS if r.kind == "learned"]
CONFIGS = {"shampoo": ShampooConfig}


def _id(record: OptimizerPlugin) -> str:
    return record.name


def _build(record: OptimizerPlugin) -> Callable[..., Any]:
    module, attribute = record.build.split(":")
    return getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("record", RECORDS, ids=_id)
def test_defaults_are_those_of_the_implementation(record: OptimizerPlugin) -> None:
    declared = {h.name: h.default for h in record.hyperparameters}
    if record.kind == "learned":
        config = _build(record)().config
        taken = {name: getattr(config, name) for name in declared}
    else:
        taken = _keywords(record)
    assert declared == taken
    assert record.name == canonical_name(record.name)
    assert all(h.help for h in record.hyperparameters)


def _keywords(record: OptimizerPlugin) -> dict[str, Any]:
    """What a builder takes, with its defaults; `**config` stands for the fields of its class."""
    taken = dict(inspect.signature(_build(record)).parameters)
    fields = dataclasses.fields(CONFIGS[record.name]) if taken.pop("config", None) else ()
    defaults = {name: parameter.default for name, parameter in taken.items()}
    return {**defaults, **{field.name: field.default for field in fields}}


@pytest.mark.parametrize("record", LEARNED, ids=_id)
def test_learned_records_build_what_they_name(record: OptimizerPlugin) -> None:
    lopt = _build(record)(**{h.name: h.default for h in record.hyperparameters})
    assert lopt.name == record.name
    theta = jax.eval_shape(lopt.init, jax.random.PRNGKey(0))
    for phase in record.phases:
        assert set(phase.frozen) <= set(theta), "a phase freezes what does not exist"


@pytest.mark.parametrize("record", TUNED, ids=_id)
def test_traceable_hyperparameters_are_one_vmapped_axis(record: OptimizerPlugin) -> None:
    build = _build(record)
    traceable = {h.name: h.default for h in record.hyperparameters if h.traceable}
    assert record.grid is not None and record.grid.hyperparameter in traceable
    params, grads = {"w": jnp.arange(1.0, 4.0)}, {"w": jnp.asarray([0.1, -1.0, 3.0])}

    def train(values: dict[str, Any]) -> Any:
        optimizer = build(**values)
        state = optimizer.init(params, num_steps=3)

        def step(state: Any, _: None) -> tuple[Any, None]:
            return optimizer.update(state, grads), None

        return jax.lax.scan(step, state, None, length=3)[0].params["w"]

    grid = {name: jnp.asarray([value, value * 0.5]) for name, value in traceable.items()}
    found = compiled(jax.vmap(train))(grid)
    for i, factor in enumerate((1.0, 0.5)):
        plain = {name: value * factor for name, value in traceable.items()}
        alone = compiled(functools.partial(train, plain))()
        np.testing.assert_allclose(found[i], alone, rtol=1e-5)


def test_the_grid_is_fifteen_half_decades() -> None:
    values = LEARNING_RATES.values
    assert len(values) == 15 and values[:3] == (1e-7, 3e-7, 1e-6) and values[-2:] == (0.3, 1.0)
    assert list(values) == sorted(values)
