"""Networks, losses, gradients, model states and initial values against those of the reference.

Every file of the folder is met: one of a name that no task has fails.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo.protocol import Task
from celo.tasks.evolution import EvolutionTask
from celo.tasks.learned_optimizer import OptimizerTask
from celo.testing.compiling import compiled
from tests.shared_folder import golden_files
from tests.tasks import golden_case as case

KEY = jax.random.PRNGKey(0)
# These are about no task.
OTHERS = {"preprocess", "reparam"}
FILES = [path for path in golden_files("tasks__*.npz") if case.name_of(path) not in OTHERS]
each_file = pytest.mark.parametrize("path", FILES, ids=case.name_of)


def _tolerance(task: Task) -> float:
    """Of gradients, relative to a leaf's norm: batch statistics cancel digits."""
    _, state = jax.eval_shape(task.init_with_state, KEY)
    return 5e-3 if jax.tree.leaves(state) else 1e-4


@each_file
def test_golden_loss_and_gradients(path: Path) -> None:
    golden, task = case.load(path), case.without_dropout(case.name_of(path))
    if isinstance(task, EvolutionTask):
        task = task.task  # its gradient is an estimate by random numbers of its own
    if isinstance(task, OptimizerTask):
        _check_inner_run(golden, task)
        return
    params, batch = case.params_of(golden), case.batch_of(golden)
    state = compiled(lambda: task.init_with_state(KEY)[1])()
    value_and_grad = jax.value_and_grad(task.loss_with_state, has_aux=True)
    run = compiled(value_and_grad)
    (loss, new_state), grad = run(params, state, KEY, batch)
    np.testing.assert_allclose(loss, golden["loss"], rtol=1e-5)
    np.testing.assert_allclose(task.normalizer(loss), golden["loss_normalized"], rtol=1e-5)
    _check_gradient(golden, grad, _tolerance(task))
    _check_state(golden, new_state)


def _check_gradient(golden: case.Golden, grad: Any, rtol: float) -> None:
    leaves = case.by_path(grad)
    total = float(golden["grad_global_l2"])
    found = np.sqrt(sum(np.sum(np.square(np.asarray(x, np.float64))) for x in leaves.values()))
    np.testing.assert_allclose(found, total, rtol=rtol)
    for i, name in enumerate(map(str, golden["param_paths"])):
        leaf = np.asarray(leaves[name], np.float64)
        norm = float(golden["grad_l2"][i])
        # Some leaves have no gradient but rounding errors.
        slack = rtol * norm + 1e-6 * total
        assert abs(np.linalg.norm(leaf) - norm) <= slack, name
        first = leaf.ravel()[:4] - golden["grad_first"][i][: leaf.size]
        assert np.abs(first).max() <= 1e-1 * rtol * norm + 1e-6 * total, name
        if f"grad::{name}" in golden:
            assert np.abs(leaf - golden[f"grad::{name}"]).max() <= slack, name


def _check_state(golden: case.Golden, state: Any) -> None:
    leaves = case.by_path(state)
    assert sorted(leaves) == sorted(map(str, golden.get("state_paths", ())))
    for i, name in enumerate(map(str, golden.get("state_paths", ()))):
        value = np.asarray(leaves[name], np.float64)
        norm = float(golden["state_l2_after"][i])
        np.testing.assert_allclose(np.linalg.norm(value), norm, rtol=1e-4, err_msg=name)
        np.testing.assert_allclose(
            np.resize(value.ravel(), 4),
            golden["state_first_after"][i],
            rtol=1e-4,
            atol=1e-5 * norm,
            err_msg=name,
        )


def _check_inner_run(golden: case.Golden, task: OptimizerTask) -> None:
    """The whole unroll from given inner parameters, and its derivative by the weights."""
    theta, batch = case.params_of(golden), case.batch_of(golden)
    start = case.inner_params_of(golden), jax.eval_shape(task.inner.init_with_state, KEY)[1]

    def loss(theta: Any) -> Any:
        run = task.inner_run(theta, start, KEY, batch)
        return jnp.mean(task.normalizer(run.losses)), run

    run = compiled(jax.value_and_grad(loss, has_aux=True))
    (value, inner), grad = run(theta)
    np.testing.assert_allclose(value, golden["loss"], rtol=1e-5)
    np.testing.assert_allclose(inner.losses, golden["inner_losses"], rtol=1e-5)
    final = case.by_path(inner.params)
    norms = [np.linalg.norm(final[str(name)]) for name in golden["inner_param_paths"]]
    np.testing.assert_allclose(norms, golden["inner_params_final_l2"], rtol=1e-5)
    leaves = case.by_path(grad)
    for i, name in enumerate(map(str, golden["param_paths"])):
        # Rounding errors grow on the way back through the run.
        want = golden[f"grad::{name}"]
        slack = 2e-3 * float(np.abs(want).max()) + 1e-6
        assert np.abs(leaves[name] - want).max() <= slack, name
        norm = float(golden["grad_l2"][i])
        assert abs(np.linalg.norm(leaves[name]) - norm) <= 2e-3 * norm + 1e-6, name


@each_file
def test_golden_normalizer(path: Path) -> None:
    golden = case.load(path)
    if "normalizer_probe_in" not in golden:
        pytest.skip("the file says nothing about it")
    task = case.build(case.name_of(path))
    found = task.normalizer(jnp.asarray(golden["normalizer_probe_in"]))
    np.testing.assert_allclose(found, golden["normalizer_probe_out"], rtol=1e-6)


@each_file
def test_golden_initial_parameters(path: Path) -> None:
    golden, task = case.load(path), case.build(case.name_of(path))
    leaves = case.by_path(compiled(task.init)(jax.random.PRNGKey(1)))
    assert sorted(leaves) == sorted(map(str, golden["param_paths"]))
    for i, name in enumerate(map(str, golden["param_paths"])):
        value = np.asarray(leaves[name], np.float64)
        assert ",".join(map(str, value.shape)) == golden["param_shapes"][i]
        if "init_std" not in golden:
            continue
        spread, mean = float(golden["init_std"][i]), float(golden["init_mean"][i])
        noise = spread / np.sqrt(value.size)  # of one mean; ours and theirs both have it
        assert abs(value.mean() - mean) <= 6 * noise + 1e-6 * abs(mean), name
        assert abs(value.std() - spread) <= 6 * noise, name
        largest, found = float(golden["init_absmax"][i]), float(np.abs(value).max())
        if value.size >= 1000:
            cut = largest < 2.5 * spread  # uniform, or normal up to two deviations
            assert abs(found - largest) <= (0.1 if cut else 0.35) * largest, name
    if "n_params" in golden:
        assert sum(x.size for x in leaves.values()) == golden["n_params"]
