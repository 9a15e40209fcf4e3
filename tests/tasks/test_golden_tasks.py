"""Networks, losses, gradients and initial values against those of the reference."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo import registry
from celo.data import DataSelection
from celo.protocol import Task
from celo.tasks import build_task, conv
from tests.shared_folder import golden_files

KEY = jax.random.PRNGKey(0)
SYNTHETIC = DataSelection(synthetic=True)
# Not tasks, or of families that are not built yet; a file of any other name must be understood.
NOT_HERE = {
    "preprocess",
    "reparam",
    "ImageMLP_Cifar10_128x128x128_BatchNorm_Relu",
    "ImageMLP_Cifar10_128x128x128_Relu_MSE",
    "LOpt_AdafacMLPLOpt_FashionMnist_50",
    "LOpt_MLPLOpt_FahionMnist_10",
    "MLPMixer_Cifar100_tiny16",
    "Resnet_MultiRuntime_0",
    "VIT_Cifar100_skinnydeep",
}


def _name(path: Path) -> str:
    return path.stem.removeprefix("tasks__")


FILES = [path for path in golden_files("tasks__*.npz") if _name(path) not in NOT_HERE]
each_file = pytest.mark.parametrize("path", FILES, ids=_name)


def _task(name: str) -> Task:
    if name == "Conv_Cifar10_32x64x64":  # the network of Digits_Conv at full size; not registered
        config = {"data_set": "cifar10", "batch_size": 128, "widths": (32, 64, 64)}
        return conv.build(name=name, data=SYNTHETIC, **config)
    record = registry.task(name).record
    if "dropout" in record.config:  # the golden losses and gradients are without
        record = dataclasses.replace(record, config={**record.config, "dropout": 0.0})
    return build_task(record, SYNTHETIC)


def _leaves(tree: Any) -> dict[str, jax.Array]:
    return {f"{module}//{leaf}": x for module, part in tree.items() for leaf, x in part.items()}


def _recipe(golden: Any) -> dict[str, dict[str, jax.Array]]:
    tree: dict[str, dict[str, jax.Array]] = {}
    for i, path in enumerate(golden["param_paths"]):
        module, leaf = str(path).split("//")
        shape = [int(n) for n in str(golden["param_shapes"][i]).split(",") if n]
        noise = np.random.RandomState(golden["param_seed"][i]).standard_normal(shape)
        value = (golden["param_mean"][i] + golden["param_std"][i] * noise).astype(np.float32)
        np.testing.assert_allclose(
            np.linalg.norm(value.astype(float)), golden["param_l2"][i], rtol=1e-6
        )
        tree.setdefault(module, {})[leaf] = jnp.asarray(value)
    return tree


def _batch(golden: Any) -> dict[str, jax.Array]:
    if "batch_obs" in golden:
        return {name: jnp.asarray(golden[f"batch_{name}"]) for name in ("obs", "target")}
    image = golden["batch_image_u8"].astype(np.float32) / np.float32(255)
    return {"image": jnp.asarray(image), "label": jnp.asarray(golden["batch_label"])}


@each_file
def test_golden_loss_and_gradients(path: Path) -> None:
    task = _task(_name(path))
    with np.load(path, allow_pickle=False) as golden:
        params, batch = _recipe(golden), _batch(golden)
        _, state = jax.eval_shape(task.init_with_state, KEY)  # None or empty
        # Not compiled as a whole, so that tasks of equal shapes share what is compiled.
        value_and_grad = jax.value_and_grad(task.loss_with_state, has_aux=True)
        (loss, new_state), grad = value_and_grad(params, state, KEY, batch)
        np.testing.assert_allclose(loss, golden["loss"], rtol=1e-5)
        assert new_state == state
        np.testing.assert_allclose(task.normalizer(loss), golden["loss_normalized"], rtol=1e-5)

        leaves = _leaves(grad)
        total = float(golden["grad_global_l2"])
        for i, name in enumerate(golden["param_paths"]):
            leaf = np.asarray(leaves[str(name)], np.float64)
            norm = float(golden["grad_l2"][i])
            assert abs(np.linalg.norm(leaf) - norm) <= 1e-4 * norm + 1e-6 * total, name
            np.testing.assert_allclose(
                leaf.ravel()[:4],
                golden["grad_first"][i][: leaf.size],
                rtol=1e-4,
                atol=1e-5 * norm + 1e-8 * total,
                err_msg=str(name),
            )
            if f"grad::{name}" in golden:
                np.testing.assert_allclose(
                    leaf, golden[f"grad::{name}"], rtol=1e-4, atol=1e-5 * norm
                )


@each_file
def test_golden_normalizer(path: Path) -> None:
    with np.load(path, allow_pickle=False) as golden:
        found = _task(_name(path)).normalizer(jnp.asarray(golden["normalizer_probe_in"]))
        np.testing.assert_allclose(found, golden["normalizer_probe_out"], rtol=1e-6)


@each_file
def test_golden_initial_parameters(path: Path) -> None:
    task = _task(_name(path))
    leaves = _leaves(task.init(jax.random.PRNGKey(1)))
    with np.load(path, allow_pickle=False) as golden:
        assert sorted(leaves) == sorted(map(str, golden["param_paths"]))
        assert sum(x.size for x in leaves.values()) == golden["n_params"]
        for i, name in enumerate(golden["param_paths"]):
            value = np.asarray(leaves[str(name)], np.float64)
            assert ",".join(map(str, value.shape)) == golden["param_shapes"][i]
            spread, mean = float(golden["init_std"][i]), float(golden["init_mean"][i])
            noise = spread / np.sqrt(value.size)  # of one mean; ours and theirs both have it
            assert abs(value.mean() - mean) <= 6 * noise, name
            assert abs(value.std() - spread) <= 6 * noise, name
            largest = float(golden["init_absmax"][i])
            assert abs(np.abs(value).max() - largest) <= 0.1 * largest, name
