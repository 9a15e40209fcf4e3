"""Rules about tasks: abstract ones, which compute nothing, and compiled ones."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from celo import registry
from celo.data import DataSelection
from celo.protocol import SPLITS, Task
from celo.records import TaskPlugin
from celo.tasks import build_task
from celo.testing.compiling import compiled
from celo.testing.rules import (
    NotApplicable,
    Rule,
    expect,
    expect_close,
    expect_equal,
    expect_finite,
    expect_same_form,
)
from celo.trees import named_leaves

KEYS = (0, 1)


@dataclass(eq=False)
class TaskSubject:
    """A task and what has been computed about it so far.

    Attributes:
      task: the task.
      record: what it declares; None for a bare object.
    """

    task: Task
    record: TaskPlugin | None = None

    @functools.cached_property
    def abstract(self) -> tuple[Any, Any]:
        """(params, model state) as `jax.ShapeDtypeStruct`."""
        return jax.eval_shape(self.task.init_with_state, _key(0))

    @functools.cached_property
    def abstract_batch(self) -> Any:
        return () if self.task.datasets is None else self.task.datasets.abstract_batch

    @functools.cached_property
    def batches(self) -> list[Any]:
        """Two training batches."""
        if self.task.datasets is None:
            return [(), ()]
        train = self.task.datasets.train
        return [jax.tree.map(jnp.asarray, next(train)) for _ in KEYS]

    def run(self, key: jax.Array, batch: Any) -> dict[str, Any]:
        """All numbers of one evaluation of the task."""
        params, state = self.task.init_with_state(key)
        loss_and_grad = jax.value_and_grad(self.task.loss_with_state, has_aux=True)
        (loss, new_state), grad = loss_and_grad(params, state, key, batch)
        normalized = self.task.normalizer(loss)
        return {
            "params": params,
            "first_state": state,
            "loss": loss,
            "normalizer": normalized,
            "grad": grad,
            "state": new_state,
        }

    @functools.cached_property
    def compiled_run(self) -> Callable[..., dict[str, Any]]:
        return compiled(self.run)

    @functools.cached_property
    def runs(self) -> list[dict[str, Any]]:
        """Two runs that differ in key and batch."""
        return [self.compiled_run(_key(k), b) for k, b in zip(KEYS, self.batches, strict=True)]


@functools.lru_cache(maxsize=1)
def _find_task(name: str) -> TaskSubject:
    record = registry.task(name).record
    return TaskSubject(build_task(record, DataSelection(synthetic=True)), record)


def task_subject(task: str | Task) -> TaskSubject:
    """What the rules examine.

    Raises:
      UnknownNameError: no task has this name.
      BrokenPluginError: its implementation cannot be imported.
    """
    return _find_task(task) if isinstance(task, str) else TaskSubject(task)


def smallest_of_each_family() -> list[str]:
    """The registered tasks whose compiled rules stand for their families, by parameters."""
    smallest: dict[str, TaskPlugin] = {}
    for found in registry.tasks():
        best = smallest.setdefault(found.record.family, found.record)
        if found.record.parameters < best.parameters:
            smallest[found.record.family] = found.record
    return [record.name for record in smallest.values()]


def _name(subject: TaskSubject) -> None:
    if subject.record is None:
        expect(bool(subject.task.name), "the task has no name")
        return
    name, declared = subject.task.name, subject.record.name
    expect(name == declared, f"the task calls itself {name!r}, its record {declared!r}")


def _parameters(subject: TaskSubject) -> None:
    params, _ = subject.abstract
    leaves = named_leaves(params)
    expect(bool(leaves), "init gives no parameters")
    for path, leaf in leaves.items():
        expect(bool(path), "a parameter has no name, expected a tree with named leaves")
        floating = jnp.issubdtype(leaf.dtype, jnp.floating)
        expect(floating, f"the parameter {path!r} is {leaf.dtype}, expected floating point")
        expect(leaf.size > 0, f"the parameter {path!r} is empty: shape {leaf.shape}")
    expect_same_form(jax.eval_shape(subject.task.init, _key(0)), params, "init")
    if subject.record is not None:
        count = sum(leaf.size for leaf in leaves.values())
        sizes = ", ".join(f"{path!r} {leaf.size}" for path, leaf in leaves.items())
        declared = subject.record.parameters
        expect(count == declared, f"{count} parameters, {declared} are declared: {sizes}")


def _batch(subject: TaskSubject) -> None:
    if subject.task.datasets is None:
        raise NotApplicable("the task needs no data")
    leaves = named_leaves(subject.abstract_batch)
    expect(bool(leaves), "datasets.abstract_batch is empty")
    declared = subject.record.rows_shape if subject.record else None
    axes = 1 if declared is None else len(declared)
    rows = {path: leaf.shape[:axes] for path, leaf in leaves.items()}
    wanted = declared or next(iter(rows.values()))
    for path, found in rows.items():
        expect(found == wanted, f"the batch has {path!r} with leading axes {found}, not {wanted}")


def _loss(subject: TaskSubject) -> None:
    params, state = subject.abstract
    task, batch, key = subject.task, subject.abstract_batch, _key(0)
    loss, new_state = jax.eval_shape(task.loss_with_state, params, state, key, batch)
    _expect_scalar(loss, "loss_with_state")
    expect_same_form(new_state, state, "the model state after loss_with_state")
    other, again, aux = jax.eval_shape(task.loss_with_state_and_aux, params, state, key, batch)
    _expect_scalar(other, "loss_with_state_and_aux")
    expect_same_form(again, state, "the model state after loss_with_state_and_aux")
    for path, leaf in named_leaves(aux).items():
        expect(leaf.shape == (), f"the auxiliary value {path!r} has shape {leaf.shape}")
    if not jax.tree.leaves(state):
        _expect_scalar(jax.eval_shape(task.loss, params, key, batch), "loss")
    _expect_scalar(jax.eval_shape(task.normalizer, loss), "normalizer")


def _gradient(subject: TaskSubject) -> None:
    params, state = subject.abstract
    grad_fn = jax.grad(subject.task.loss_with_state, has_aux=True)
    grad, _ = jax.eval_shape(grad_fn, params, state, _key(0), subject.abstract_batch)
    expect_same_form(grad, params, "the gradient")


def _data(subject: TaskSubject) -> None:
    datasets = subject.task.datasets
    if datasets is None:
        raise NotApplicable("the task needs no data")
    expect_same_form(subject.batches[0], subject.abstract_batch, "a batch of 'train'")
    for split in SPLITS:
        try:
            table = datasets.table(split)
        except NotImplementedError:  # iterators only
            batch = next(datasets.split(split))
        else:
            first = np.zeros(table.rows_shape, int)
            rows = {name: np.asarray(a[first]) for name, a in table.arrays.items()}
            batch = jax.eval_shape(table.decode, rows)
        expect_same_form(batch, subject.abstract_batch, f"a batch of {split!r}")


def _jit(subject: TaskSubject) -> None:
    for run in subject.runs:
        expect_finite({k: v for k, v in run.items() if "state" not in k}, "the compiled task")
    again = subject.compiled_run(_key(KEYS[0]), subject.batches[0])
    expect_equal(again, subject.runs[0], "the compiled task, called twice,")
    task, run = subject.task, subject.runs[0]
    loss, _ = task.loss_with_state(
        run["params"], run["first_state"], _key(KEYS[0]), subject.batches[0]
    )
    expect_close({"loss": run["loss"]}, {"loss": loss}, "the compiled task")


def _vmap(subject: TaskSubject) -> None:
    keys = jnp.stack([_key(k) for k in KEYS])
    batches = jax.tree.map(lambda *x: jnp.stack(x), *subject.batches)
    together = compiled(jax.vmap(subject.run))(keys, batches)
    for i, alone in enumerate(subject.runs):
        one = jax.tree.map(lambda x, i=i: x[i], together)
        expect_close(one, alone, f"the vmapped task of key {KEYS[i]}")


def _expect_scalar(value: Any, what: str) -> None:
    floating = jnp.issubdtype(value.dtype, jnp.floating)
    form = f"{value.dtype}{list(value.shape)}"
    expect(floating and value.shape == (), f"{what} gives {form}, expected a scalar")


def _key(seed: int) -> jax.Array:
    return jax.random.PRNGKey(seed)


ABSTRACT_TASK_RULES: tuple[Rule[TaskSubject], ...] = (
    Rule("name", "The task carries the name of its record.", _name),
    Rule("parameters", "Parameters are named floating-point leaves, as many as declared.",
         _parameters),
    Rule("batch", "Every leaf of a batch has the declared batch size.", _batch),
    Rule("loss", "All forms of the loss, and the normalizer, give a scalar and keep the model "
         "state.", _loss),
    Rule("gradient", "The gradient has the form of the parameters.", _gradient),
)  # fmt: skip

COMPILED_TASK_RULES: tuple[Rule[TaskSubject], ...] = (
    Rule("data", "Batches of all splits have the declared form.", _data),
    Rule("jit", "Compiled, init, loss, normalizer and gradient are finite, the same twice and "
         "those of a plain call.", _jit),
    Rule("vmap", "Vmapped over keys and batches, the numbers are those of single runs.", _vmap),
)  # fmt: skip

TASK_RULES: tuple[Rule[TaskSubject], ...] = (*ABSTRACT_TASK_RULES, *COMPILED_TASK_RULES)
