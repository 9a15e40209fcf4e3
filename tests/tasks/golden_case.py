"""A golden file of a task: its parameters, batch and model state, as trees."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from celo import registry
from celo.data import DataSelection
from celo.protocol import Task
from celo.tasks import build_task
from celo.trees import named_leaves

Golden = dict[str, np.ndarray]


def name_of(path: Path) -> str:
    return path.stem.removeprefix("tasks__")


def load(path: Path) -> Golden:
    with np.load(path, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def build(name: str, **config: Any) -> Task:
    """The task of this name, with some keywords of its configuration replaced."""
    record = registry.task(name).record
    assert set(config) <= set(record.config)
    changed = replace(record, config={**record.config, **config})
    return build_task(changed, DataSelection(synthetic=True))


def without_dropout(name: str) -> Task:
    """Golden losses of tasks with dropout were made without it."""
    has_dropout = "dropout" in registry.task(name).record.config
    return build(name, dropout=0.0) if has_dropout else build(name)


def by_path(tree: Any) -> dict[str, jax.Array]:
    """Leaves under the golden files' paths."""
    return {path.replace("|", "//"): leaf for path, leaf in named_leaves(tree).items()}


def nested(leaves: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The tree of such paths."""
    root: dict[str, Any] = {}
    for path, leaf in leaves:
        *levels, last = path.split("//")
        node = root
        for level in levels:
            node = node.setdefault(level, {})
        node[last] = jnp.asarray(leaf)
    return root


def params_of(golden: Golden) -> dict[str, Any]:
    """Parameters by the recipe of the file."""

    def leaf(i: int) -> np.ndarray:
        shape = [int(n) for n in str(golden["param_shapes"][i]).split(",") if n]
        noise = np.random.RandomState(golden["param_seed"][i]).standard_normal(shape)
        value = np.asarray(golden["param_mean"][i] + golden["param_std"][i] * noise, np.float32)
        for stored, same in (("param_l2", np.linalg.norm), ("param_first", _first)):
            if stored in golden:
                found = same(value.astype(float))
                np.testing.assert_allclose(found, golden[stored][i], rtol=1e-6)
        return value

    return nested((str(path), leaf(i)) for i, path in enumerate(golden["param_paths"]))


def inner_params_of(golden: Golden) -> dict[str, Any]:
    """Where the inner run of a task that trains an optimizer starts."""
    prefix = "inner_param::"
    return nested((k.removeprefix(prefix), v) for k, v in golden.items() if k.startswith(prefix))


def batch_of(golden: Golden) -> dict[str, jax.Array]:
    """The batch, of whatever the file has."""
    prefix = "batch_"
    arrays = {k.removeprefix(prefix): v for k, v in golden.items() if k.startswith(prefix)}
    if "inner_batch_image_recipe" in golden:
        recipe = str(golden["inner_batch_image_recipe"])
        shape = re.search(r"shape \(([\d, ]+)\)", recipe)
        assert recipe.startswith("RandomState(77).randint(0,256,shape)") and shape
        random = np.random.RandomState(77)
        pixels = random.randint(0, 256, [int(n) for n in shape[1].split(",")]).astype(np.uint8)
        assert pixels.sum() == golden["inner_image_checksum"]
        arrays["image_u8"] = pixels
    if "image_u8" in arrays:
        arrays["image"] = arrays.pop("image_u8").astype(np.float32) / np.float32(255)
    return {name: jnp.asarray(array) for name, array in arrays.items()}


def _first(value: np.ndarray) -> np.ndarray:
    return np.resize(value.ravel(), 4)
