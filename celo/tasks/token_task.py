"""What the language models share: a Haiku network over tokens and the loss of the next one."""

from __future__ import annotations

from collections.abc import Callable

import haiku as hk
import jax
import jax.numpy as jnp
from jax import lax

from celo.protocol import Batch, Datasets, Params, PRNGKey, Task
from celo.tasks.normalizers import identity

PAD = 0
"""Id of the tokens that fill up short documents: not attended to, no loss behind them."""


class TokenTask(Task):
    """Trains a Haiku network that predicts the next token; no model state.

    Parameter paths are Haiku's own names. A batch is {"obs", "target"}, int32 [B, T] each.
    """

    datasets: Datasets

    def __init__(
        self,
        name: str,
        batch_loss: Callable[[Batch], jax.Array],
        datasets: Datasets,
        *,
        draws: bool = False,
    ):
        """Builds nothing and touches no data yet.

        Args:
          name: as shown everywhere.
          batch_loss: the network and its loss: from a batch to a scalar, with Haiku modules.
          datasets: what it is trained on; `abstract_batch` gives the shapes of the parameters.
          draws: the loss draws random numbers (dropout); otherwise its key is not used at all.
        """
        self.datasets = datasets
        self._name = name
        self._draws = draws
        self._network = hk.transform(batch_loss)

    @property
    def name(self) -> str:
        return self._name

    def init(self, key: PRNGKey) -> Params:
        ones = jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), self.datasets.abstract_batch)
        return self._network.init(key, ones)

    def loss(self, params: Params, key: PRNGKey, data: Batch) -> jax.Array:
        return self._network.apply(params, key if self._draws else None, data)

    def normalizer(self, loss: jax.Array) -> jax.Array:
        return identity(loss)


def mean_loss(logits: jax.Array, batch: Batch) -> jax.Array:
    """Mean cross-entropy of the targets behind tokens that are no padding.

    A padding token as the target of a real one counts, as published. A batch of nothing but padding
    has the loss NaN.

    Args:
      logits: float [B, T, V], or [T, B, V] with the batch transposed alike.
      batch: "obs" and "target" of matching shape.
    """
    mask = batch["obs"] != PAD
    losses = next_token_loss(logits, batch["target"])
    return jnp.sum(jnp.where(mask, losses, 0.0)) / jnp.sum(mask, dtype=losses.dtype)


@jax.custom_jvp
def next_token_loss(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """-log softmax(logits)[target], at the cost of one array of the size of `logits`.

    The forward pass reads the logits twice (maximum, sum of exponentials) and picks one of each
    row; the backward pass writes their gradient in one sweep. Derivatives of any order and either
    direction exist.

    Args:
      logits: float [..., V].
      targets: int [...], all within [0, V).

    Returns:
      float [...].
    """
    picked = jnp.take_along_axis(logits, targets[..., None], axis=-1, mode="promise_in_bounds")
    return jax.nn.logsumexp(logits, axis=-1) - picked[..., 0]


@next_token_loss.defjvp
def _next_token_loss_jvp(primals, tangents):
    logits, targets = primals
    tangent, _ = tangents
    # The plain derivative of the pick would fill a second array of the size of the logits by
    # scattering and add the two; a comparison inside the one sweep costs next to nothing.
    ids = lax.broadcasted_iota(targets.dtype, logits.shape, logits.ndim - 1)
    top = jax.nn.logsumexp(logits, axis=-1)
    slope = jnp.exp(logits - top[..., None]) - (ids == targets[..., None])
    picked = jnp.take_along_axis(logits, targets[..., None], axis=-1, mode="promise_in_bounds")
    return top - picked[..., 0], jnp.sum(slope * tangent, axis=-1)
