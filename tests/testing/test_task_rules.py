"""Every rule about tasks: everything registered keeps it, a broken twin does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.core import Tracer

from celo import registry
from celo.protocol import Datasets, Task
from celo.records import TaskPlugin
from celo.testing import (
    ABSTRACT_TASK_RULES,
    TASK_RULES,
    ConformanceError,
    Rule,
    check_task,
    results_by_name,
    smallest_of_each_family,
)
from celo.testing.rules import apply_rules
from celo.testing.task_rules import TaskSubject

ROWS = 4
RECORD = TaskPlugin("Line", "line", "a line", "nowhere:build", "none", ROWS, 3)


@pytest.mark.parametrize("name", [found.record.name for found in registry.tasks()])
def test_registered_tasks_keep_the_abstract_rules(name: str) -> None:
    results = check_task(name, ABSTRACT_TASK_RULES)
    assert all(result.status == "ok" for result in results)


@pytest.mark.slow
@pytest.mark.parametrize("name", smallest_of_each_family())
def test_one_task_a_family_keeps_every_rule(name: str) -> None:
    kind, results = results_by_name(name)
    assert kind == "task"
    assert [r.rule for r in results] == [rule.name for rule in TASK_RULES]
    assert [(r.rule, r.message) for r in results if r.status != "ok"] == []


def test_the_smallest_of_each_family_stands_for_it() -> None:
    records = {found.record.name: found.record for found in registry.tasks()}
    chosen = [records[name] for name in smallest_of_each_family()]
    assert sorted(record.family for record in chosen) == sorted(
        {record.family for record in records.values()}
    )
    for record in chosen:
        family = [other for other in records.values() if other.family == record.family]
        assert record.parameters == min(other.parameters for other in family)


class LineDatasets(Datasets):
    def __init__(self, rows: int = ROWS, dtype: Any = np.float32):
        super().__init__(abstract_batch={"x": jax.ShapeDtypeStruct((rows, 2), jnp.float32)})
        self.batch = {"x": np.linspace(-1, 1, 2 * rows).reshape(rows, 2).astype(dtype)}

    def split(self, name: str) -> Any:
        return iter([self.batch, self.batch])


class Line(Task):
    """Three parameters and a model state; keeps every rule."""

    def __init__(self, datasets: Datasets | None = None):
        self.datasets = datasets or LineDatasets()

    def init(self, key: Any) -> Any:
        return {"line": {"b": jnp.ones(()), "w": jax.random.normal(key, (2,))}}

    def init_with_state(self, key: Any) -> Any:
        return self.init(key), {"seen": jnp.zeros(())}

    def loss_with_state(self, params: Any, state: Any, key: Any, data: Any) -> Any:
        line = params["line"]
        loss = jnp.mean(jnp.square(data["x"] @ line["w"] + line["b"]))
        return self.spoil(loss), {"seen": state["seen"] + 1}

    def loss_with_state_and_aux(self, params: Any, state: Any, key: Any, data: Any) -> Any:
        return *self.loss_with_state(params, state, key, data), {}

    def spoil(self, loss: Any) -> Any:
        return loss


class IntegerParameter(Line):
    def init(self, key: Any) -> Any:
        return {**super().init(key), "steps": jnp.zeros((), jnp.int32)}


class GrowingState(Line):
    def loss_with_state(self, *args: Any, **kwargs: Any) -> Any:
        loss, state = super().loss_with_state(*args, **kwargs)
        return loss, {**state, "more": loss}


class GradientOfIntegers(IntegerParameter):
    """Its gradient does not exist."""


class NotANumber(Line):
    def spoil(self, loss: Any) -> Any:
        return loss * jnp.nan


class SmallerWhenCompiled(Line):
    def spoil(self, loss: Any) -> Any:
        return loss / 2 if isinstance(loss, Tracer) else loss


@jax.custom_batching.custom_vmap
def _other_when_vmapped(x: jax.Array) -> jax.Array:
    return x


@_other_when_vmapped.def_vmap
def _vmapped(axis_size: int, in_batched: Any, x: jax.Array) -> tuple[jax.Array, bool]:
    return 2 * x, in_batched[0]


class MixesVmappedRuns(Line):
    def normalizer(self, loss: Any) -> Any:
        return _other_when_vmapped(loss)


# rule -> [(the twin, what its message must name)]
TWINS: dict[str, list[tuple[Callable[[], TaskSubject], str]]] = {
    "name": [(lambda: _subject(Line(), name="Curve"), "'Curve'")],
    "parameters": [
        (lambda: _subject(IntegerParameter()), "'steps'"),
        (lambda: _subject(Line(), parameters=4), "'line|w' 2"),
    ],
    "batch": [(lambda: _subject(Line(LineDatasets(rows=5))), "'x'")],
    "loss": [(lambda: _subject(GrowingState()), "'more'")],
    "gradient": [(lambda: _subject(GradientOfIntegers()), "int32")],
    "data": [(lambda: _subject(Line(LineDatasets(dtype=np.float16))), "'x'")],
    "jit": [
        (lambda: _subject(NotANumber()), "'grad|line|b'"),
        (lambda: _subject(SmallerWhenCompiled()), "'loss'"),
    ],
    "vmap": [(lambda: _subject(MixesVmappedRuns()), "'normalizer'")],
}


def _subject(task: Task, **declared: Any) -> TaskSubject:
    return TaskSubject(task, dataclasses.replace(RECORD, **declared))


def test_a_good_task_keeps_every_rule() -> None:
    results = apply_rules(TASK_RULES, _subject(Line()))
    assert [(r.rule, r.message) for r in results if r.status != "ok"] == []


@pytest.mark.parametrize("rule", TASK_RULES)
def test_broken_twins_fail(rule: Rule) -> None:
    for make, leaf in TWINS[rule.name]:
        (result,) = apply_rules([rule], make())
        assert result.status == "failed"
        assert leaf in result.message


def test_every_rule_has_a_broken_twin() -> None:
    assert set(TWINS) == {rule.name for rule in TASK_RULES}


def test_rules_about_data_do_not_apply_without_data() -> None:
    task = Line()
    task.datasets = None
    rules = [rule for rule in TASK_RULES if rule.name in ("batch", "data")]
    results = apply_rules(rules, _subject(task))
    assert [(r.status, r.message) for r in results] == [("skipped", "the task needs no data")] * 2


def test_objects_are_checked_without_a_registry() -> None:
    check_task(Line())
    with pytest.raises(ConformanceError, match="jit: the compiled task has 'grad.line.b' = "):
        check_task(NotANumber())
