"""Reading golden optimizer files: trees from flat keys, what to build, how near is near."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import serialization

from tests.shared_folder import checkpoints_dir

Tree = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class GoldenCase:
    """One file: `<optimizer>__<case>.npz`."""

    optimizer: str
    case: str
    arrays: dict[str, np.ndarray]

    def __contains__(self, key: str) -> bool:
        return key in self.arrays

    def __getitem__(self, key: str) -> np.ndarray:
        return self.arrays[key]

    def flat(self, group: str) -> dict[str, np.ndarray]:
        """The arrays of a group by leaf path."""
        prefix = group + "|"
        return {k[len(prefix) :]: v for k, v in self.arrays.items() if k.startswith(prefix)}

    def tree(self, group: str) -> Tree:
        """The arrays of a group as nested dictionaries."""
        root: Tree = {}
        for path, array in self.flat(group).items():
            *levels, last = path.split("|")
            node = root
            for level in levels:
                node = node.setdefault(level, {})
            node[last] = array
        return root

    @property
    def config(self) -> dict[str, Any]:
        return json.loads(str(self["config_json"])) if "config_json" in self else {}

    @property
    def bfloat16(self) -> bool:
        return "bfloat16" in str(self.arrays.get("dtype", "")) or self.case.startswith("bf16")

    def in_dtype(self, tree: Tree) -> Tree:
        """Parameters or gradients, which are stored as float32, in the dtype of the case."""
        return jax.tree.map(
            lambda x: jnp.asarray(x, jnp.bfloat16 if self.bfloat16 else x.dtype), tree
        )


def read_case(path: Path) -> GoldenCase:
    optimizer, case = path.stem.split("__")
    with np.load(path, allow_pickle=False) as file:
        return GoldenCase(optimizer, case, {key: file[key] for key in file.files})


def published_tree(name: str) -> Tree:
    """The published weights of an optimizer."""
    path = checkpoints_dir() / name / "theta.state"
    return serialization.msgpack_restore(path.read_bytes())


def displacement_error(found: Any, golden: np.ndarray, start: np.ndarray) -> float:
    """The "disp" of README-celo: error relative to how far the leaf has moved."""
    if golden.size == 0:
        return 0.0
    found = np.asarray(found, np.float64)
    floor = 3e-7 * np.max(np.abs(golden))
    error = max(np.max(np.abs(found - golden)) - floor, 0.0)
    moved = np.max(np.abs(golden.astype(np.float64) - start))
    return float(error / moved) if moved else (0.0 if error == 0.0 else np.inf)


def relative_to_max(found: Any, golden: np.ndarray) -> float:
    """Largest error over the largest size in the leaf."""
    if golden.size == 0:
        return 0.0
    error = np.max(np.abs(np.asarray(found, np.float64) - golden))
    size = np.max(np.abs(golden))
    return float(error / size) if size else (0.0 if error == 0.0 else np.inf)
