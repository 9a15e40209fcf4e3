"""What the image tasks share: a network whose output is the loss of a batch."""

from __future__ import annotations

from typing import Literal

import haiku as hk
import jax
import jax.numpy as jnp

from celo.protocol import Batch, Datasets, ModelState, Params, PRNGKey, Task
from celo.tasks.normalizers import Normalizer

StateKind = Literal["none", "empty", "statistics"]


class ImageTask(Task):
    """Trains a network; parameter paths are those of the reference."""

    datasets: Datasets

    def __init__(
        self,
        name: str,
        network: hk.TransformedWithState,
        datasets: Datasets,
        normalizer: Normalizer,
        *,
        state: StateKind = "none",
    ):
        """Builds nothing and touches no data yet.

        Args:
          name: as shown everywhere.
          network: `init(key, batch)` gives (params, state), `apply(params, state, key, batch)`
            (loss of the batch, new state); from `hk.transform_with_state`, or of the same form.
          datasets: what it is trained on; `abstract_batch` gives the shapes of the parameters.
          normalizer: see `celo.tasks.normalizers`.
          state: the model state: None; an empty mapping, as some of the reference's classes have
            it; or the statistics of the network's BatchNorm layers.
        """
        self.datasets = datasets
        self._name = name
        # Traced once for all that asks for it; loops inline it.
        self._network = hk.TransformedWithState(jax.jit(network.init), jax.jit(network.apply))
        self._normalizer = normalizer
        self._state = state

    @property
    def name(self) -> str:
        return self._name

    def init(self, key: PRNGKey) -> Params:
        return self.init_with_state(key)[0]

    def init_with_state(self, key: PRNGKey) -> tuple[Params, ModelState]:
        ones = jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), self.datasets.abstract_batch)
        params, statistics = self._network.init(key, ones)
        if self._state == "statistics":
            # Haiku leaves averages of the batch of ones there: rounding errors around zero.
            return params, jax.tree.map(jnp.zeros_like, statistics)
        return params, None if self._state == "none" else {}

    def loss(self, params: Params, key: PRNGKey, data: Batch) -> jax.Array:
        if self._state == "statistics":
            raise ValueError(
                f"{self.name} has a model state, expected a call of loss_with_state with it"
            )
        return self._network.apply(params, {}, key, data)[0]

    def loss_with_state(
        self, params: Params, state: ModelState, key: PRNGKey, data: Batch
    ) -> tuple[jax.Array, ModelState]:
        if self._state == "statistics":
            return self._network.apply(params, state, key, data)
        if jax.tree.leaves(state):
            raise ValueError(f"{self.name} has no model state, expected what init_with_state gave")
        return self.loss(params, key, data), state

    def loss_with_state_and_aux(
        self, params: Params, state: ModelState, key: PRNGKey, data: Batch
    ) -> tuple[jax.Array, ModelState, dict[str, jax.Array]]:
        return *self.loss_with_state(params, state, key, data), {}

    def normalizer(self, loss: jax.Array) -> jax.Array:
        return self._normalizer(loss)


def flatten_images(batch: Batch) -> jax.Array:
    """Images as rows [B, H*W*C], row by row, pixel by pixel, channel by channel."""
    images = batch["image"]
    return images.reshape(images.shape[0], -1)


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean over the batch of -log softmax(logits)[label].

    Args:
      logits: [B, C].
      labels: int32 [B].
    """
    one_hot = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return -jnp.mean(jnp.sum(one_hot * jax.nn.log_softmax(logits), axis=-1))


def mean_squared_error(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean over batch and classes of (logits - one-hot label) squared.

    Args:
      logits: [B, C].
      labels: int32 [B].
    """
    one_hot = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return jnp.mean(jnp.square(logits - one_hot))
