"""Vision transformers for classification (spec of the tasks, 1.3)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from celo.data import DataSelection
from celo.data.datasets import image_datasets
from celo.protocol import Params, PRNGKey
from celo.tasks.image_task import ImageTask
from celo.tasks.patch_layers import (
    Tree,
    dense,
    init_head,
    init_layer_norm,
    init_patch_embedding,
    layer_norm,
    mlp,
    patch_embedding,
    patch_task,
)

_xavier_uniform = jax.nn.initializers.xavier_uniform()
_position_init = jax.nn.initializers.normal(0.02)
_mlp_bias_init = jax.nn.initializers.normal(1e-6)


def build(
    *,
    name: str,
    data: DataSelection,
    data_set: str,
    batch_size: int,
    width: int,
    mlp_width: int,
    heads: int,
    blocks: int,
    patch: int = 16,
) -> ImageTask:
    """A pre-norm encoder over patches and a class token, whose last state is classified.

    Args:
      name: of the task.
      data: which data stands behind `data_set`.
      data_set: name of the data set.
      batch_size: rows of a batch.
      width: of a token.
      mlp_width: hidden units of a block's MLP.
      heads: of the attention; divides the width.
      blocks: of the encoder.
      patch: side of a patch.
    """
    datasets = image_datasets(data_set, batch_size, selection=data)

    def init(key: PRNGKey, images: jax.Array, num_classes: int) -> Params:
        _, height, columns, channels = images.shape
        tokens = 1 + (height // patch) * (columns // patch)
        embedding_key, position_key, head_key, *block_keys = jax.random.split(key, 3 + blocks)
        encoder = {
            f"encoderblock_{i}": _init_block(block_key, width, mlp_width, heads)
            for i, block_key in enumerate(block_keys)
        }
        return {
            "Transformer": {
                **encoder,
                "encoder_norm": init_layer_norm(width),
                "posembed_input": {
                    "pos_embedding": _position_init(position_key, (1, tokens, width))
                },
            },
            "cls": jnp.zeros((1, 1, width)),
            "embedding": init_patch_embedding(embedding_key, patch, channels, width),
            "head": init_head(head_key, width, num_classes),
        }

    return patch_task(name, init, vit, datasets)


def vit(params: Tree, images: jax.Array) -> jax.Array:
    """Logits [B, C] of images [B, H, W, channels]."""
    encoder = params["Transformer"]
    tokens = patch_embedding(params["embedding"], images)
    first = jnp.broadcast_to(params["cls"], (tokens.shape[0], 1, tokens.shape[2]))
    tokens = jnp.concatenate([first, tokens], axis=1)
    tokens = tokens + encoder["posembed_input"]["pos_embedding"]
    blocks = sum(name.startswith("encoderblock_") for name in encoder)
    for i in range(blocks):
        block = encoder[f"encoderblock_{i}"]
        attended = _attention(
            block["MultiHeadDotProductAttention_0"], layer_norm(block["LayerNorm_0"], tokens)
        )
        tokens = tokens + attended
        tokens = tokens + mlp(block["MlpBlock_0"], layer_norm(block["LayerNorm_1"], tokens))
    # Only the class token is looked at.
    return dense(params["head"], layer_norm(encoder["encoder_norm"], tokens[:, 0]))


def _init_block(key: PRNGKey, width: int, mlp_width: int, heads: int) -> Tree:
    keys = iter(jax.random.split(key, 8))
    inner = (heads, width // heads)

    def xavier(*shape: int) -> jax.Array:
        return _xavier_uniform(next(keys), shape)

    def projection() -> Tree:
        kernel = xavier(width, width).reshape(width, *inner)
        return {"bias": jnp.zeros(inner), "kernel": kernel}

    def layer(inputs: int, outputs: int) -> Tree:
        bias = _mlp_bias_init(next(keys), (outputs,))
        return {"bias": bias, "kernel": xavier(inputs, outputs)}

    return {
        "LayerNorm_0": init_layer_norm(width),
        "LayerNorm_1": init_layer_norm(width),
        "MlpBlock_0": {"Dense_0": layer(width, mlp_width), "Dense_1": layer(mlp_width, width)},
        "MultiHeadDotProductAttention_0": {
            **{name: projection() for name in ("key", "query", "value")},
            "out": {
                "bias": jnp.zeros(width),
                "kernel": xavier(width, width).reshape(*inner, width),
            },
        },
    }


def _attention(params: Tree, tokens: jax.Array) -> jax.Array:
    """Every token attends to all; [B, T, width] -> [B, T, width]."""

    def project(name: str) -> jax.Array:
        projection = params[name]
        return jnp.einsum("btd,dhk->bthk", tokens, projection["kernel"]) + projection["bias"]

    query, key, value = (project(name) for name in ("query", "key", "value"))
    logits = jnp.einsum("bthk,bshk->bhts", query, key) / jnp.sqrt(query.shape[-1])
    mixed = jnp.einsum("bhts,bshk->bthk", jax.nn.softmax(logits), value)
    return jnp.einsum("bthk,hkd->btd", mixed, params["out"]["kernel"]) + params["out"]["bias"]
