"""Layers of the patch networks (ViT, MLP-Mixer), as functions of nested parameter trees.

Their parameters carry the names of the reference, which are those of Flax: nested mappings that
Haiku, whose trees have two levels, cannot make.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from celo.protocol import Batch, Datasets, Params, PRNGKey
from celo.tasks.convolution import patches
from celo.tasks.image_task import ImageTask, cross_entropy
from celo.tasks.layers import drawn_zeros
from celo.tasks.normalizers import patch_classifier

Tree = Mapping[str, Any]
LAYER_NORM_EPS = 1e-6

lecun_normal = jax.nn.initializers.lecun_normal()


def init_layer_norm(width: int) -> Tree:
    return {"bias": jnp.zeros(width), "scale": jnp.ones(width)}


def layer_norm(params: Tree, features: jax.Array) -> jax.Array:
    """Over the last axis."""
    mean = jnp.mean(features, axis=-1, keepdims=True)
    centred = features - mean
    variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + LAYER_NORM_EPS) * params["scale"] + params["bias"]


def dense(params: Tree, features: jax.Array) -> jax.Array:
    """Over the last axis: [..., inputs] -> [..., outputs]."""
    return features @ params["kernel"] + params["bias"]


def mlp(params: Tree, features: jax.Array) -> jax.Array:
    """Dense, GELU (by the tanh formula), Dense."""
    hidden = jax.nn.gelu(dense(params["Dense_0"], features), approximate=True)
    return dense(params["Dense_1"], hidden)


def init_patch_embedding(key: PRNGKey, patch: int, channels: int, width: int) -> Tree:
    shape = (patch * patch * channels, width)
    kernel = lecun_normal(key, shape).reshape(patch, patch, channels, width)
    return {"bias": jnp.zeros(width), "kernel": kernel}


def patch_embedding(params: Tree, images: jax.Array) -> jax.Array:
    """The convolution whose stride is its kernel: [B, H, W, C] -> [B, tokens, width]."""
    kernel = params["kernel"]
    return patches(images, kernel.shape[0]) @ kernel.reshape(-1, kernel.shape[-1]) + params["bias"]


def init_head(key: PRNGKey, width: int, num_classes: int) -> Tree:
    """Zeros, so that the first loss is ln C."""
    return {"bias": jnp.zeros(num_classes), "kernel": drawn_zeros(key, (width, num_classes))}


def patch_task(
    name: str,
    init: Callable[[PRNGKey, jax.Array, int], Tree],
    apply: Callable[[Tree, jax.Array], jax.Array],
    datasets: Datasets,
) -> ImageTask:
    """The classifier of a patch network; its tree lies below one outer level, `params`.

    Args:
      name: of the task.
      init: (key, images, number of classes) -> parameters.
      apply: (parameters, images) -> logits.
      datasets: images with labels.
    """
    num_classes = datasets.extra_info["num_classes"]

    def init_network(key: PRNGKey, batch: Batch) -> tuple[Params, Any]:
        return {"params": init(key, batch["image"], num_classes)}, {}

    def apply_network(
        params: Params, state: Any, key: PRNGKey, batch: Batch
    ) -> tuple[jax.Array, Any]:
        return cross_entropy(apply(params["params"], batch["image"]), batch["label"]), state

    network = hk.TransformedWithState(init_network, apply_network)  # pyright: ignore[reportArgumentType]
    return ImageTask(name, network, datasets, patch_classifier(num_classes))
