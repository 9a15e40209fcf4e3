"""What holds for every task of this package."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from celo import registry
from celo.data import DataSelection
from celo.protocol import Task
from celo.records import TaskPlugin
from celo.tasks import build_task, records, records_language

KEY = jax.random.PRNGKey(0)
SYNTHETIC = DataSelection(synthetic=True)
ALL = (
    *records.MLP_TASKS,
    *records.AUTOENCODER_TASKS,
    *records.FAST_VELO_TASKS,
    *records.DIGITS_TASKS,
    *records_language.TRANSFORMER_LM_TASKS,
    *records_language.RECURRENT_LM_TASKS,
)
each_record = pytest.mark.parametrize("record", ALL, ids=lambda record: record.name)


def _build(name: str) -> Task:
    return build_task(registry.task(name).record, SYNTHETIC)


def test_every_record_is_registered() -> None:
    ours = [e.record for e in registry.tasks() if e.origin.distribution == registry.FIRST_PARTY]
    assert sorted(ours, key=lambda r: r.name) == sorted(ALL, key=lambda r: r.name)


@each_record
def test_the_record_tells_the_truth(record: TaskPlugin) -> None:
    task = build_task(record, SYNTHETIC)
    assert task.name == record.name
    params = jax.eval_shape(task.init, KEY)
    assert sum(x.size for x in jax.tree.leaves(params)) == record.parameters
    assert task.datasets is not None
    (rows,) = {leaf.shape[0] for leaf in jax.tree.leaves(task.datasets.abstract_batch)}
    assert rows == record.batch_size
    if record.vocabulary:
        assert record.vocabulary == record.config["vocabulary"]
    assert record.data_set == record.config["data_set"]
    assert {"default", "cpu", "gpu", "tpu"} >= set(record.batching)


@pytest.mark.parametrize(
    "record", [r for r in ALL if "_bs" in r.name or "Relu128" in r.name], ids=lambda r: r.name
)
def test_loss_has_the_documented_scale_at_the_start(record: TaskPlugin) -> None:
    """Spec of the tasks, 1.1 and 2: random pixels and labels, reference initialisers."""
    task = build_task(record, SYNTHETIC)
    assert task.datasets is not None
    batch = next(task.datasets.train)
    loss = float(task.loss(task.init(KEY), KEY, batch))
    if record.family == "MLP autoencoder":
        assert loss == pytest.approx(0.085, abs=0.015)
    else:
        assert 2.2 < loss < 2.9


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
    with pytest.raises(ValueError, match="Digits_MLP_32 has no model state"):
        task = _build("Digits_MLP_32")
        task.loss_with_state(task.init(KEY), {"mean": jnp.zeros(3)}, KEY, {})


def test_building_touches_no_data(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELO_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("CELO_CACHE_DIR", str(tmp_path))
    task = build_task(registry.task("FastVelo_svhn").record, DataSelection())
    task.init(KEY)
