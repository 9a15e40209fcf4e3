"""The inner problem of `pes__celo_unroll.npz`, whose draws are all given."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from celo.estimators import Draws
from celo.metatrain.inner import InnerTraining
from celo.metatrain.lengths import Lengths
from celo.metatrain.pools import Pool
from celo.protocol import SingleTaskFamily, SplitTable, Task
from celo.tasks.image_task import cross_entropy
from celo.tasks.normalizers import mlp_classifier
from tests.shared_folder import golden_dir

WINDOW, BATCH, LENGTH = 10, 8, 6


@cache
def golden() -> dict[str, np.ndarray]:
    with np.load(golden_dir() / "pes__celo_unroll.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def tree(prefix: str) -> dict[str, Any]:
    """Arrays below a prefix, by the rest of their names."""
    found: dict[str, Any] = {}
    for name, array in golden().items():
        if name.startswith(prefix + "/"):
            found[name.removeprefix(prefix)] = array
    return found


class SmallMLP(Task):
    """4-5-3, ReLU, with the same initial parameters always."""

    def __init__(self) -> None:
        self.network = hk.without_apply_rng(hk.transform(lambda x: hk.nets.MLP([5, 3])(x)))

    def init(self, key: jax.Array) -> Any:
        params: dict[str, Any] = {}
        for name, array in tree("params0").items():
            module, leaf = name.strip("/").rsplit("/", 1)
            params.setdefault(module, {})[leaf] = jnp.asarray(array)
        return params

    def loss(self, params: Any, key: jax.Array, data: Any) -> jax.Array:
        return cross_entropy(self.network.apply(params, data["x"]), data["y"])

    def normalizer(self, loss: jax.Array) -> jax.Array:
        return mlp_classifier(3)(loss)


@dataclasses.dataclass(frozen=True)
class GivenBatches(InnerTraining):
    """Inner training on the batches of one window, in order."""

    window: int = 0

    def draw(self, key: jax.Array, particle: jax.Array, steps: int) -> Draws:
        draws = super().draw(key, particle, steps)
        step = self.window * steps + jnp.arange(steps)
        first = (step * 2 + particle) * BATCH
        rows = first[:, None] + jnp.arange(BATCH)
        return draws._replace(steps={**draws.steps, "rows": rows})


def problem(lopt: Any, window: int) -> GivenBatches:
    """Two particles: [windows, steps, particles, batch] flattened to one table."""
    x, y = golden()["x"], golden()["y"]
    arrays = {"x": x.reshape(-1, x.shape[-1]), "y": y.reshape(-1)}
    table = SplitTable(arrays, BATCH, lambda rows: rows)
    return GivenBatches(
        lopt=lopt,
        family=SingleTaskFamily(SmallMLP()),
        pool=Pool(table, (0,), (len(arrays["y"]),)),
        arrays=arrays,
        particles_per_family=2,
        lengths=Lengths(LENGTH, LENGTH, offset=0),
        meta_loss=lambda loss, task, step, length: task.normalizer(loss),
        window=window,
    )
