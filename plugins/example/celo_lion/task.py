"""Logistic regression on zeros and ones, straight on the contract: no network library."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from celo.data import DataSelection
from celo.data.datasets import image_datasets
from celo.protocol import Batch, Params, PRNGKey, Task
from celo.tasks.normalizers import mlp_classifier


class BinaryDigits(Task):
    """Weights and a bias: leaves `linear|w` float32 [64] and `linear|b` float32 []."""

    def __init__(self, *, name: str, data: DataSelection, batch_size: int):
        """Touches no data yet.

        Args:
          name: of the task.
          data: which data stands behind the name of the set.
          batch_size: rows of a batch.
        """
        self.datasets = image_datasets("binary_digits", batch_size, selection=data)
        self._name = name
        self._normalizer = mlp_classifier(num_classes=2)

    @property
    def name(self) -> str:
        return self._name

    def init(self, key: PRNGKey) -> Params:
        return {"linear": {"w": jax.random.normal(key, (64,)) / 8, "b": jnp.zeros(())}}

    def loss(self, params: Params, key: PRNGKey, data: Batch) -> jax.Array:
        images = data["image"].reshape(data["image"].shape[0], -1)
        logits = images @ params["linear"]["w"] + params["linear"]["b"]
        return jnp.mean(jax.nn.softplus(jnp.where(data["label"] == 1, -logits, logits)))

    def normalizer(self, loss: jax.Array) -> jax.Array:
        return self._normalizer(loss)
