"""What the image tasks share: a Haiku network whose output is the loss of a batch."""

from __future__ import annotations

from collections.abc import Callable

import haiku as hk
import jax
import jax.numpy as jnp

from celo.protocol import Batch, Datasets, ModelState, Params, PRNGKey, Task
from celo.tasks.normalizers import Normalizer


class ImageTask(Task):
    """Trains a stateless Haiku network; parameter paths are Haiku's own names."""

    datasets: Datasets

    def __init__(
        self,
        name: str,
        batch_loss: Callable[[Batch], jax.Array],
        datasets: Datasets,
        normalizer: Normalizer,
        *,
        empty_state: bool = False,
    ):
        """Builds nothing and touches no data yet.

        Args:
          name: as shown everywhere.
          batch_loss: the network and its loss: from a batch to a scalar, with Haiku modules.
          datasets: what it is trained on; `abstract_batch` gives the shapes of the parameters.
          normalizer: see `celo.tasks.normalizers`.
          empty_state: the model state is an empty mapping, as the reference's class has it,
            instead of None.
        """
        self.datasets = datasets
        self._name = name
        self._network = hk.without_apply_rng(hk.transform(batch_loss))
        self._normalizer = normalizer
        self._empty_state = empty_state

    @property
    def name(self) -> str:
        return self._name

    def init(self, key: PRNGKey) -> Params:
        ones = jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), self.datasets.abstract_batch)
        return self._network.init(key, ones)

    def init_with_state(self, key: PRNGKey) -> tuple[Params, ModelState]:
        return self.init(key), {} if self._empty_state else None

    def loss(self, params: Params, key: PRNGKey, data: Batch) -> jax.Array:
        return self._network.apply(params, data)

    def loss_with_state(
        self, params: Params, state: ModelState, key: PRNGKey, data: Batch
    ) -> tuple[jax.Array, ModelState]:
        loss, state, _ = self.loss_with_state_and_aux(params, state, key, data)
        return loss, state

    def loss_with_state_and_aux(
        self, params: Params, state: ModelState, key: PRNGKey, data: Batch
    ) -> tuple[jax.Array, ModelState, dict[str, jax.Array]]:
        if jax.tree.leaves(state):
            raise ValueError(f"{self.name} has no model state, expected what init_with_state gave")
        loss, aux = self.loss_and_aux(params, key, data)
        return loss, state, dict(aux)

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
