"""What the language models share: a Haiku network over tokens and the loss of the next one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
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


class Head(hk.Module):
    """A linear layer to the vocabulary and the loss of its predictions.

    Its parameters are those of an `hk.Linear`; logits of the whole batch exist at no time.
    """

    def __init__(self, vocab_size: int):
        """Takes the number of ids."""
        super().__init__("linear")
        self._vocab_size = vocab_size

    def __call__(self, features: jax.Array, obs: jax.Array, targets: jax.Array) -> jax.Array:
        """Mean cross-entropy of the targets behind tokens that are no padding.

        A padding token as the target of a real one counts, as published. A batch of nothing but
        padding has the loss NaN.

        Args:
          features: float [..., width].
          obs: int32 [...], the tokens that were read.
          targets: int32 [...], the tokens that follow.
        """
        width = features.shape[-1]
        init = hk.initializers.TruncatedNormal(1 / np.sqrt(width))
        w = hk.get_parameter("w", (width, self._vocab_size), init=init)
        b = hk.get_parameter("b", (self._vocab_size,), init=jnp.zeros)
        mask = (obs != PAD).astype(features.dtype).ravel()
        rows = features.reshape(-1, width)
        return weighted_loss(rows, w, b, targets.ravel(), mask / jnp.sum(mask))


_LOGITS_AT_ONCE = 2**22
"""So many logits are computed together: 128 rows of 32,100, which the caches of a CPU can hold.

Measured for 4096 rows of width 256 on two busy cores, gradients included: 7.1 s and 47 MB at 128
rows at once, 12 s and 1000 MB for automatic differentiation of all at once (1500 MB with a
log-softmax of them).
"""


@jax.custom_vjp
def weighted_loss(
    features: jax.Array, w: jax.Array, b: jax.Array, targets: jax.Array, weights: jax.Array
) -> jax.Array:
    """Sum over rows of weight * (-log softmax(features @ w + b)[target]).

    The logits are made block by block: log of the sum of exponentials, minus the target's logit.
    Where gradients are wanted, they are made of a block while it is at hand, so that nothing is
    computed twice. First derivatives in reverse only; none with respect to the weights.

    Args:
      features: float [N, width].
      w: float [width, V].
      b: float [V].
      targets: int [N], all within [0, V).
      weights: float [N].
    """

    def add(total: jax.Array, block: Block) -> tuple[jax.Array, None]:
        logits, top, picked = _logits(w, b, block)
        sums = jnp.sum(jnp.exp(logits - top), axis=-1, keepdims=True)
        return total + _total(block, top + jnp.log(sums) - picked), None

    blocks = _blocks(features, targets, weights, b.size)
    return _over(add, jnp.zeros((), features.dtype), blocks)[0]


Block = tuple[jax.Array, jax.Array, jax.Array]
"""Features, targets and weights of some rows."""
Gradients = tuple[jax.Array, jax.Array, jax.Array]
"""With respect to features, w and b."""


def _forward(
    features: jax.Array, w: jax.Array, b: jax.Array, targets: jax.Array, weights: jax.Array
) -> tuple[jax.Array, Gradients]:
    def add(
        totals: tuple[jax.Array, jax.Array, jax.Array], block: Block
    ) -> tuple[tuple[jax.Array, jax.Array, jax.Array], jax.Array]:
        rows, ids, weight = block
        logits, top, picked = _logits(w, b, block)
        exponentials = jnp.exp(logits - top)
        sums = jnp.sum(exponentials, axis=-1, keepdims=True)
        # A comparison inside the one sweep over the block, no one-hot and no scatter.
        hit = lax.broadcasted_iota(ids.dtype, logits.shape, 1) == ids[:, None]
        slope = weight[:, None] * (exponentials / sums - hit)
        loss, w_slope, b_slope = totals
        loss = loss + _total(block, top + jnp.log(sums) - picked)
        return (loss, w_slope + rows.T @ slope, b_slope + jnp.sum(slope, axis=0)), slope @ w.T

    start = (jnp.zeros((), features.dtype), jnp.zeros_like(w), jnp.zeros_like(b))
    blocks = _blocks(features, targets, weights, b.size)
    (loss, w_slope, b_slope), slopes = _over(add, start, blocks)
    return loss, (slopes.reshape(-1, features.shape[1])[: len(features)], w_slope, b_slope)


def _backward(
    gradients: Gradients, cotangent: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, None, None]:
    features, w, b = (gradient * cotangent for gradient in gradients)
    return features, w, b, None, None


weighted_loss.defvjp(_forward, _backward)


def _blocks(features: jax.Array, targets: jax.Array, weights: jax.Array, ids: int) -> Block:
    """Rows as [blocks, rows of a block, ...]; rows that fill up the last block have weight 0."""
    rows = len(features)
    count = -(-rows // max(1, _LOGITS_AT_ONCE // ids))
    size = -(-rows // count)
    spare = count * size - rows

    def cut(array: jax.Array) -> jax.Array:
        padded = jnp.pad(array, [(0, spare)] + [(0, 0)] * (array.ndim - 1))
        return padded.reshape(count, size, *array.shape[1:])

    return cut(features), cut(targets), cut(weights)


def _over(add: Callable[..., tuple[Any, Any]], start: Any, blocks: Block) -> tuple[Any, Any]:
    if len(blocks[0]) > 1:
        return lax.scan(add, start, blocks)
    features, targets, weights = blocks
    return add(start, (features[0], targets[0], weights[0]))


def _logits(w: jax.Array, b: jax.Array, block: Block) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Logits of a block, and the largest and the target's of each row, [rows, 1]."""
    features, targets, _ = block
    logits = features @ w + b
    # In bounds: ids of data sets are below the size of their vocabulary.
    picked = jnp.take_along_axis(logits, targets[:, None], axis=1, mode="promise_in_bounds")
    return logits, jnp.max(logits, axis=-1, keepdims=True), picked


def _total(block: Block, losses: jax.Array) -> jax.Array:
    return jnp.sum(block[2] * losses[:, 0])
