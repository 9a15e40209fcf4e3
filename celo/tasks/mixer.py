"""MLP-Mixer classifiers (spec of the tasks, 3)."""

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
    lecun_normal,
    mlp,
    patch_embedding,
    patch_task,
)


def build(
    *,
    name: str,
    data: DataSelection,
    data_set: str,
    batch_size: int,
    width: int,
    blocks: int,
    token_mlp_width: int,
    channel_mlp_width: int,
    patch: int = 16,
) -> ImageTask:
    """MLPs over tokens and over channels in turn; the mean of the tokens is classified.

    Args:
      name: of the task.
      data: which data stands behind `data_set`.
      data_set: name of the data set.
      batch_size: rows of a batch.
      width: channels of a token.
      blocks: number of pairs of MLPs.
      token_mlp_width: hidden units of the MLPs over tokens.
      channel_mlp_width: hidden units of the MLPs over channels.
      patch: side of a patch.
    """
    datasets = image_datasets(data_set, batch_size, selection=data)

    def init(key: PRNGKey, images: jax.Array, num_classes: int) -> Params:
        _, height, columns, channels = images.shape
        tokens = (height // patch) * (columns // patch)
        stem_key, head_key, *block_keys = jax.random.split(key, 2 + blocks)
        mixers = {}
        for i, block_key in enumerate(block_keys):
            token_key, channel_key = jax.random.split(block_key)
            mixers[f"MixerBlock_{i}"] = {
                "LayerNorm_0": init_layer_norm(width),
                "LayerNorm_1": init_layer_norm(width),
                "token_mixing": _init_mlp(token_key, tokens, token_mlp_width),
                "channel_mixing": _init_mlp(channel_key, width, channel_mlp_width),
            }
        return {
            **mixers,
            "stem": init_patch_embedding(stem_key, patch, channels, width),
            "pre_head_layer_norm": init_layer_norm(width),
            "head": init_head(head_key, width, num_classes),
        }

    return patch_task(name, init, mixer, datasets)


def mixer(params: Tree, images: jax.Array) -> jax.Array:
    """Logits [B, C] of images [B, H, W, channels]."""
    features = patch_embedding(params["stem"], images)
    for i in range(sum(name.startswith("MixerBlock_") for name in params)):
        block = params[f"MixerBlock_{i}"]
        tokens = layer_norm(block["LayerNorm_0"], features).swapaxes(1, 2)
        features = features + mlp(block["token_mixing"], tokens).swapaxes(1, 2)
        features = features + mlp(
            block["channel_mixing"], layer_norm(block["LayerNorm_1"], features)
        )
    features = layer_norm(params["pre_head_layer_norm"], features)
    return dense(params["head"], jnp.mean(features, axis=1))


def _init_mlp(key: PRNGKey, width: int, hidden: int) -> Tree:
    def layer(key: PRNGKey, inputs: int, outputs: int) -> Tree:
        kernel = lecun_normal(key, (inputs, outputs))
        return {"bias": jnp.zeros(outputs), "kernel": kernel}

    first, second = jax.random.split(key)
    return {"Dense_0": layer(first, width, hidden), "Dense_1": layer(second, hidden, width)}
