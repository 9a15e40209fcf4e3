"""Decoder-only transformer language models without positions (spec of the tasks, 1.3)."""

from __future__ import annotations

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from celo.data import DataSelection
from celo.data.text_datasets import text_datasets
from celo.protocol import Batch
from celo.tasks.token_task import PAD, Head, TokenTask

HEAD_SIZE = 32
"""Of every attention head, whatever the width."""
_MASKED = -1e30


def build(
    *,
    name: str,
    data: DataSelection,
    data_set: str,
    vocabulary: str,
    batch_size: int,
    length: int,
    heads: int,
    width: int,
    layers: int,
    dropout: float = 0.0,
) -> TokenTask:
    """A decoder that predicts every next token.

    Args:
      name: of the task.
      data: which data stands behind `data_set`.
      data_set: name of the text set.
      vocabulary: how it becomes tokens: "32k" or "bytes".
      batch_size: rows of a batch.
      length: tokens of a row.
      heads: attention heads, each of size 32.
      width: of the residual stream.
      layers: blocks.
      dropout: rate on the two residual branches of every block, in training and evaluation alike.
    """
    datasets = text_datasets(data_set, vocabulary, batch_size, length, data)
    vocab_size = datasets.extra_info["vocab_size"]

    def batch_loss(batch: Batch) -> jax.Array:
        network = Transformer(heads, width, layers, vocab_size, dropout)
        return network(batch["obs"], batch["target"])

    return TokenTask(name, batch_loss, datasets, draws=dropout > 0)


class Transformer(hk.Module):
    """Blocks of causal attention and an MLP, each behind a LayerNorm, on a residual stream."""

    def __init__(self, heads: int, width: int, layers: int, vocab_size: int, dropout: float):
        """Takes the fields of `build`."""
        super().__init__()
        self._heads = heads
        self._width = width
        self._layers = layers
        self._vocab_size = vocab_size
        self._dropout = dropout

    def __call__(self, tokens: jax.Array, targets: jax.Array) -> jax.Array:
        """Mean loss of predicting `targets` behind `tokens`, int32 [B, T] both."""
        init = hk.initializers.VarianceScaling(2 / self._layers)
        visible = _causal_mask(tokens)
        h = hk.Embed(self._vocab_size, self._width)(tokens)
        for i in range(self._layers):
            branch = Attention(self._heads, init, name=f"h{i}_attn")
            h = h + self._dropped(branch(_layer_norm(h, f"h{i}_ln_1"), visible))
            branch = Mlp(init, name=f"h{i}_mlp")
            h = h + self._dropped(branch(_layer_norm(h, f"h{i}_ln_2")))
        return Head(self._vocab_size)(_layer_norm(h, "h_f"), tokens, targets)

    def _dropped(self, x: jax.Array) -> jax.Array:
        return hk.dropout(hk.next_rng_key(), self._dropout, x) if self._dropout else x


class Attention(hk.Module):
    """Multi-head self-attention with heads of `HEAD_SIZE`, whatever the width."""

    def __init__(self, heads: int, init: hk.initializers.Initializer, name: str):
        """Takes the number of heads and the initialiser of all kernels."""
        super().__init__(name)
        self._heads = heads
        self._init = init

    def __call__(self, x: jax.Array, visible: jax.Array) -> jax.Array:
        """[B, T, width] for inputs of the same shape and a mask [B, 1, T, T]."""

        def projected(name: str) -> jax.Array:
            size = self._heads * HEAD_SIZE
            flat = hk.Linear(size, w_init=self._init, name=name)(x)
            return flat.reshape(*x.shape[:-1], self._heads, HEAD_SIZE)

        query, key, value = projected("query"), projected("key"), projected("value")
        logits = jnp.einsum("bthd,bshd->bhts", query, key) / np.sqrt(HEAD_SIZE).astype(x.dtype)
        weights = jax.nn.softmax(jnp.where(visible, logits, _MASKED))
        mixed = jnp.einsum("bhts,bshd->bthd", weights, value)
        return hk.Linear(x.shape[-1], w_init=self._init)(mixed.reshape(*x.shape[:-1], -1))


class Mlp(hk.Module):
    """One hidden layer of four times the width with GELU (tanh approximation)."""

    def __init__(self, init: hk.initializers.Initializer, name: str):
        """Takes the initialiser of both kernels."""
        super().__init__(name)
        self._init = init

    def __call__(self, x: jax.Array) -> jax.Array:
        width = x.shape[-1]
        hidden = jax.nn.gelu(hk.Linear(4 * width, w_init=self._init)(x))
        return hk.Linear(width, w_init=self._init)(hidden)


def _layer_norm(x: jax.Array, name: str) -> jax.Array:
    return hk.LayerNorm(axis=-1, create_scale=True, create_offset=True, eps=1e-5, name=name)(x)


def _causal_mask(tokens: jax.Array) -> jax.Array:
    """Bool [B, 1, T, T]: which keys a query may see: earlier ones and itself, no padding."""
    length = tokens.shape[-1]
    causal = np.tril(np.ones((length, length), bool))
    return (tokens != PAD)[:, None, None, :] & causal
