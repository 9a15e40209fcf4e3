"""Tasks that train an optimizer: their inner runs, their batches, their way into the loop."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo import registry
from celo.data import DataSelection
from celo.data.datasets import image_datasets, stacked
from celo.errors import UnknownNameError
from celo.evaluation.batches import EVAL_SPLITS, draw_rows, open_batches
from celo.evaluation.cells import Schedule
from celo.protocol import Task
from celo.records import TaskPlugin
from celo.tasks import build_task, mlp
from celo.tasks.learned_optimizer import OptimizerTask
from celo.testing.compiling import compiled

KEY = jax.random.PRNGKey(0)
SYNTHETIC = DataSelection(synthetic=True)
STEPS = 3


def _record(**config: object) -> TaskPlugin:
    record = registry.task("LOpt_LearnableAdam_Cifar10_8_50").record
    inner = {"data_set": "digits", "batch_size": 64, "hidden": (4,)}
    changed = {"task": "celo.tasks.mlp:build", "config": inner, "inner_steps": STEPS, **config}
    return dataclasses.replace(record, config={**record.config, **changed}, stack=STEPS)


def _task() -> OptimizerTask:
    task = build_task(_record(), SYNTHETIC)
    assert isinstance(task, OptimizerTask)
    return task


def test_the_loss_is_the_mean_of_an_inner_run() -> None:
    """Each inner loss before its update, each normalised; held against a plain loop."""
    task = _task()
    theta, batch = task.init(KEY), next(task.datasets.train)
    optimizer = task.optimizer.opt_fn(theta)
    inner: Task = task.inner
    init_key, _ = jax.random.split(KEY)
    state = optimizer.init(inner.init(init_key), num_steps=STEPS)
    value_and_grad = compiled(jax.value_and_grad(inner.loss))
    losses = []
    for i in range(STEPS):
        one = jax.tree.map(lambda x, i=i: x[i], batch)
        params = optimizer.get_params(state)
        loss, grad = value_and_grad(params, KEY, one)
        losses.append(inner.normalizer(loss))
        state = optimizer.update(state, grad, loss=loss)
    assert losses[-1] != losses[0]
    found = task.loss(theta, KEY, batch)
    np.testing.assert_allclose(found, jnp.mean(jnp.stack(losses)), rtol=1e-5)
    start = inner.init(init_key), None
    run = task.inner_run(theta, start, KEY, batch)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        run.params,
        optimizer.get_params(state),
    )


def test_gradients_go_through_the_whole_run() -> None:
    """A finite difference of the loss in the learning rate."""
    task = _task()
    theta, batch = task.init(KEY), next(task.datasets.train)
    theta = {**theta, "log_lr": jnp.log(0.1)}
    value_and_grad = compiled(jax.value_and_grad(task.loss))
    _, grad = value_and_grad(theta, KEY, batch)
    up, down = (
        value_and_grad({**theta, "log_lr": theta["log_lr"] + h}, KEY, batch)[0]
        for h in (0.01, -0.01)
    )
    np.testing.assert_allclose(grad["log_lr"], (up - down) / 0.02, rtol=0.01)


def test_other_keys_start_other_inner_runs() -> None:
    task = _task()
    theta, batch = task.init(KEY), next(task.datasets.train)
    assert task.loss(theta, KEY, batch) != task.loss(theta, jax.random.PRNGKey(1), batch)


def test_its_optimizer_must_exist() -> None:
    with pytest.raises(UnknownNameError, match="unknown optimizer 'nobody'"):
        build_task(_record(optimizer="nobody"), SYNTHETIC)


def test_stacked_batches_are_consecutive_ones() -> None:
    """Through the iterators, and through the rows that the compiled loop draws."""
    plain = image_datasets("digits", 64)
    stack = stacked(image_datasets("digits", 64), STEPS)
    assert stack.abstract_batch["image"].shape == (STEPS, 64, 8, 8, 1)
    for _ in range(8):  # beyond the end of an epoch of 17 batches
        expected = [next(plain.train) for _ in range(STEPS)]
        found = next(stack.train)
        for name, value in found.items():
            np.testing.assert_array_equal(value, [batch[name] for batch in expected])


def test_the_loop_draws_stacked_rows() -> None:
    """Splits smaller than a stack are no obstacle."""
    alone = mlp.build(name="inner", data=SYNTHETIC, data_set="digits", batch_size=64, hidden=(4,))
    task = OptimizerTask("outer", _task().optimizer, alone, 30)
    schedule = Schedule(20, 10, 2, 2)
    keys = jax.random.split(KEY, 1)
    outer, inner = open_batches(task), open_batches(alone)
    assert outer.table.rows_shape == (30, 64)
    both = compiled(
        lambda keys: [draw_rows(b, keys, jnp.int32(0), schedule=schedule) for b in (outer, inner)]
    )
    rows, plain = both(keys)
    assert rows.training.shape[2:] == (30, 64)
    assert rows.evaluation.shape[1] == len(EVAL_SPLITS)
    np.testing.assert_array_equal(rows.training[0, 0], plain.training[0, :30])
    assert outer.splits == inner.splits
