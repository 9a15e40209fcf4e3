"""What holds for every task of this package."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from celo import registry
from celo.data import DataSelection
from celo.protocol import Task
from celo.records import TaskPlugin
from celo.tasks import build_task, records
from celo.tasks.image_task import mean_squared_error
from celo.tasks.layers import drawn_zeros

KEY = jax.random.PRNGKey(0)
SYNTHETIC = DataSelection(synthetic=True)
ALL_TASKS: list[TaskPlugin] = [
    record for group in records.__all__ for record in getattr(records, group)
]
each_record = pytest.mark.parametrize("record", ALL_TASKS, ids=lambda record: record.name)


def _build(name: str, **config: Any) -> Task:
    record = registry.task(name).record
    return build_task(replace(record, config={**record.config, **config}), SYNTHETIC)


def test_every_record_is_registered() -> None:
    for record in ALL_TASKS:
        assert registry.task(record.name).record == record
    names = [record.name for record in ALL_TASKS]
    assert len(set(names)) == len(names) == 128


@each_record
def test_records_agree_with_themselves(record: TaskPlugin) -> None:
    """What they declare about the build, which the conformance suite does not compare."""
    config = record.config
    while "config" in config:  # a task around another one
        config = config["config"]
    assert config["data_set"] == record.data_set
    assert config["batch_size"] == record.batch_size
    assert config.get("vocabulary", "") == record.vocabulary
    registry.data_set(record.data_set)
    assert {"default", "cpu", "gpu", "tpu"} >= set(record.batching)
    assert len(record.summary) <= 80


def test_records_of_trained_optimizers_follow_their_optimizers() -> None:
    """Numbers of the optimizer are numbers of the task: both versions are raised together."""
    for record in (*records.LOPT_TASKS, *records.LOPT_EVOLUTION_TASKS):
        config = record.config if "optimizer" in record.config else record.config["config"]
        assert record.stack == config["inner_steps"]
        optimizer = registry.optimizer(config["optimizer"]).record
        assert record.numerics_version >= optimizer.numerics_version


# Spec of the tasks, 1.1: mean and deviation over initial keys, random pixels and labels.
AT_THE_START = {
    "ImageMLP_FashionMnist_Relu128x128": (2.3136, 0.0130),
    "ImageMLP_Cifar10_128x128x128_LayerNorm_Relu": (2.4658, 0.1003),
    "ImageMLP_Cifar10_128x128x128_Tanh_bs128": (2.3244, 0.0190),
    "Conv_Cifar10_32x64x64": (2.3062, 0.0105),
    "Conv_Cifar10_32x64x64_batchnorm": (2.3066, 0.0023),
    "Conv_Cifar10_32x64x64_layernorm": (2.4869, 0.1187),
    "Conv_Cifar100_32x64x64": (4.6132, 0.0077),
    "ImageMLPAE_Cifar10_128x32x128_bs256": (0.0853, 0.0005),
    "ImageMLPAE_Mnist_128x32x128_bs128": (0.0849, 0.0003),
    "FastVelo_mnist": (2.3563, 0.0586),
}


@pytest.mark.parametrize("name", AT_THE_START)
def test_loss_has_the_documented_scale_at_the_start(name: str) -> None:
    mean, deviation = AT_THE_START[name]
    task = _build(name)
    batch = next(task.datasets.train)
    loss, _ = task.loss_with_state(*task.init_with_state(KEY), KEY, batch)
    assert abs(float(loss) - mean) < 4 * deviation + 0.005 * mean


@pytest.mark.parametrize("name", ["Digits_MLP_LayerNorm_64x64", "Digits_Conv_16x32"])
def test_tasks_are_pure_functions(name: str) -> None:
    """jit, vmap over keys, grad; a task is a static argument; training lowers the loss."""
    task = build_task(registry.task(name).record, DataSelection())
    assert task.datasets is not None
    batch = next(task.datasets.train)
    params, state = jax.vmap(task.init_with_state)(jax.random.split(KEY, 2))

    def step(task: Task, params, state, batch):
        def one(params, state):
            value_and_grad = jax.value_and_grad(task.loss_with_state, has_aux=True)
            (loss, state), grad = value_and_grad(params, state, KEY, batch)
            return loss, jax.tree.map(lambda p, g: p - 0.1 * g, params, grad), state

        return jax.vmap(one)(params, state)

    step = jax.jit(step, static_argnums=0)
    losses = []
    for _ in range(20):
        loss, params, new_state = step(task, params, state, batch)
        losses.append(loss)
    assert new_state == state
    assert (losses[-1] < losses[0]).all()
    assert losses[0][0] != losses[0][1]


def test_initial_parameters_depend_on_the_key_alone() -> None:
    first, again, other = (_build("Digits_MLP_32").init(jax.random.PRNGKey(s)) for s in (0, 0, 1))
    assert jax.tree.all(jax.tree.map(jnp.array_equal, first, again))
    weights = first["mlp/~/linear_0"]["w"], other["mlp/~/linear_0"]["w"]
    assert not jnp.array_equal(*weights)


def test_model_state_is_that_of_the_reference() -> None:
    assert _build("Digits_MLP_32").init_with_state(KEY)[1] is None
    assert _build("Digits_MLP_LayerNorm_64x64").init_with_state(KEY)[1] == {}
    assert _build("Digits_Conv_16x32").init_with_state(KEY)[1] == {}
    assert _build("VIT_Cifar10_skinnyshallow").init_with_state(KEY)[1] is None
    with pytest.raises(ValueError, match="Digits_MLP_32 has no model state"):
        task = _build("Digits_MLP_32")
        task.loss_with_state(task.init(KEY), {"mean": jnp.zeros(3)}, KEY, {})


def test_building_touches_no_data(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELO_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("CELO_CACHE_DIR", str(tmp_path))
    task = build_task(registry.task("FastVelo_svhn").record, DataSelection())
    task.init(KEY)


def test_batch_norm_keeps_statistics_that_no_loss_reads() -> None:
    task = _build("ImageMLP_Cifar10_128x128x128_BatchNorm_Relu", hidden=(8,))
    batch = next(task.datasets.train)
    params, state = task.init_with_state(KEY)
    loss, moved = task.loss_with_state(params, state, KEY, batch)
    mean = moved["batch_norm/~/mean_ema"]
    assert int(mean["counter"]) == 1 and float(jnp.abs(mean["average"]).max()) > 0
    again, _ = task.loss_with_state(params, moved, KEY, batch)
    assert loss == again
    with pytest.raises(ValueError, match="has a model state, expected a call of loss_with_state"):
        task.loss(params, KEY, batch)


def test_dropout_is_always_on() -> None:
    """At a rate of 0.8 a fifth of the units speak five times as loud."""
    name = "ImageMLP_Cifar10_128x128_Dropout08_Relu_MSE"
    task, quiet = _build(name), _build(name, dropout=0.0)
    batch = next(task.datasets.train)
    params = task.init(KEY)
    losses = [float(task.loss(params, jax.random.PRNGKey(i), batch)) for i in range(3)]
    assert len(set(losses)) == 3
    assert jax.tree.structure(quiet.init(KEY)) == jax.tree.structure(params)
    without = float(quiet.loss(params, KEY, batch))
    assert without == quiet.loss(params, jax.random.PRNGKey(1), batch)
    # Published first losses, on real images: 0.80 at this rate, 0.10 without dropout.
    assert 3 < sum(losses) / 3 / without < 20


def test_squared_error_counts_every_class() -> None:
    logits = jnp.array([[0.5, 0.0], [0.0, 2.0]])
    loss = mean_squared_error(logits, jnp.array([0, 1]))
    assert float(loss) == pytest.approx((0.25 + 0 + 0 + 1) / 4)


def test_zeros_of_a_last_layer_are_safe_in_the_program_that_makes_them() -> None:
    """XLA on the CPU makes NaN of a sum times a constant matrix."""
    x = jax.random.normal(KEY, (8, 4, 16))
    product = jax.jit(lambda key, x: jnp.mean(x, axis=1) @ drawn_zeros(key, (16, 5)))(KEY, x)
    assert (product == 0).all()


def test_vits_take_images_of_other_sizes() -> None:
    """64x64 pixels are sixteen patches and a class token, 32x32 four and one."""
    shapes = [
        jax.eval_shape(_build(name).init, KEY)["params"]["Transformer"]["posembed_input"]
        for name in ("VIT_Food101_64_skinnydeep", "VIT_Cifar10_skinnyshallow")
    ]
    assert [x["pos_embedding"].shape for x in shapes] == [(1, 17, 128), (1, 5, 64)]
