"""The package as celo finds it once it is installed."""

from __future__ import annotations

from importlib import metadata

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from celo_lion.data import load
from celo_lion.metric import steadiness

import celo
from celo import registry
from celo.metrics.views import RunView
from celo.testing import check_data, check_optimizer, check_task

OPTIMIZERS = ["lion-cub:lr=0.01", "tensor-steps@random:0"]


@pytest.mark.parametrize("name", ["lion-cub", "tensor-steps"])
def test_the_optimizers_keep_the_contract(name: str) -> None:
    check_optimizer(name)


def test_the_task_and_the_data_keep_the_contract() -> None:
    check_task("BinaryDigits_Linear")
    check_data("binary_digits")


def test_every_entry_point_is_found() -> None:
    groups = {
        "celo.optimizers": registry.optimizers(),
        "celo.tasks": registry.tasks(),
        "celo.suites": registry.suites(),
        "celo.data": registry.data_sets(),
        "celo.metrics": registry.metrics(),
    }
    for group, found in groups.items():
        assert not [b for b in found.broken if b.origin.distribution == "celo-lion"]
        points = metadata.distribution("celo-lion").entry_points.select(group=group)
        brought = {entry.origin.entry_point for entry in found}
        assert {f"{point.name} = {point.value}" for point in points} <= brought, group


def test_the_data_are_as_declared() -> None:
    arrays, record = load(), registry.data_set("binary_digits").record
    assert len(arrays["train_images"]) == record.train_rows
    assert len(arrays["test_images"]) == record.test_rows
    assert set(np.unique(arrays["train_labels"])) == {0, 1}
    assert arrays["train_images"].max() == record.largest_pixel


@pytest.mark.parametrize("name", ["BinaryDigits_Linear", "BinaryDigits_Linear_bs8"])
def test_the_task_has_the_declared_parameters(name: str) -> None:
    task, record = celo.load_task(name), registry.task(name).record
    params = jax.eval_shape(task.init, jax.random.PRNGKey(0))
    assert sum(x.size for x in jax.tree.leaves(params)) == record.parameters
    assert next(task.datasets.train)["label"].shape == (record.batch_size,)


def test_the_metric_counts_falls() -> None:
    steps, losses = np.arange(4), np.array([3.0, 2.0, 2.1, 1.0])
    run = RunView("T", "lion-cub", 0, 3, steps, losses, losses, 1.0, "done")
    assert steadiness(run, None) == 2 / 3
    assert steadiness(run, None, slack=0.1) == 1.0
    assert registry.resolve(registry.metric("steadiness").record.compute) is steadiness


def test_the_loss_is_the_cross_entropy() -> None:
    task = celo.load_task("BinaryDigits_Linear")
    params = {"linear": {"w": jnp.ones(64), "b": jnp.asarray(-2.0)}}
    batch = {"image": jnp.full((2, 8, 8, 1), 1 / 32), "label": jnp.asarray([0, 1])}
    # Both logits are 64 / 32 - 2 = 0.
    loss = task.loss(params, jax.random.PRNGKey(0), batch)
    assert float(loss) == pytest.approx(np.log(2), rel=1e-6)


@pytest.mark.parametrize("spec", OPTIMIZERS)
def test_it_learns_to_tell_zeros_from_ones(spec: str) -> None:
    task, opt = celo.load_task("BinaryDigits_Linear"), celo.load(spec)
    key = jax.random.PRNGKey(0)

    @jax.jit
    def train(opt_state, batch):
        loss, grad = jax.value_and_grad(task.loss)(opt.get_params(opt_state), key, batch)
        return opt.update(opt_state, grad, loss=loss), loss

    opt_state, losses = opt.init(task.init(key), num_steps=100), []
    for _ in range(100):
        opt_state, loss = train(opt_state, next(task.datasets.train))
        losses.append(float(loss))
    assert losses[-1] < 0.1 < 0.3 < losses[0]
