"""ResNet classifiers of images: pre-activation bottleneck blocks (spec of the tasks, 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from celo.data import DataSelection
from celo.data.datasets import image_datasets
from celo.protocol import Batch
from celo.tasks import normalizers
from celo.tasks.convolution import Conv2D, max_pool
from celo.tasks.image_task import ImageTask, cross_entropy
from celo.tasks.layers import BatchNorm, drawn_zeros

_FIRST_CHANNELS = 64
_GROUP_STRIDES = (1, 2, 2, 2)


def build(
    *,
    name: str,
    data: DataSelection,
    data_set: str,
    batch_size: int,
    channels: Sequence[int],
    blocks: Sequence[int] = (1, 1, 1, 1),
    kernel: int = 3,
    pool: bool = True,
) -> ImageTask:
    """A ResNet (version 2) that starts at the loss ln C.

    Args:
      name: of the task.
      data: which data stands behind `data_set`.
      data_set: name of the data set.
      batch_size: rows of a batch.
      channels: of the four groups.
      blocks: of the four groups.
      kernel: side of the first convolution's kernel.
      pool: take maxima over 3x3 windows, stride 2, after the first convolution.
    """
    datasets = image_datasets(data_set, batch_size, selection=data)
    num_classes = datasets.extra_info["num_classes"]

    def batch_loss(batch: Batch) -> jax.Array:
        network = ResNet(channels, blocks, num_classes, kernel=kernel, pool=pool)
        return cross_entropy(network(batch["image"]), batch["label"])

    network = hk.transform_with_state(batch_loss)
    return ImageTask(name, network, datasets, normalizers.identity, state="statistics")


# Names, and modules made in __init__ (hence "~" in the paths), are those of hk.nets.ResNet.


class ResNet(hk.Module):
    """Logits of images."""

    def __init__(
        self,
        channels: Sequence[int],
        blocks: Sequence[int],
        num_classes: int,
        *,
        kernel: int,
        pool: bool,
    ):
        """See `build`."""
        super().__init__("res_net")
        self._pool = pool
        self._first = Conv2D(_FIRST_CHANNELS, 2, kernel, with_bias=False, name="initial_conv")
        self._groups = [
            BlockGroup(*sizes, name=f"block_group_{i}")
            for i, sizes in enumerate(zip(channels, blocks, _GROUP_STRIDES, strict=True))
        ]
        self._norm = BatchNorm(name="final_batchnorm")
        self._logits = hk.Linear(num_classes, w_init=_zeros, name="logits")

    def __call__(self, images: jax.Array) -> jax.Array:
        features = self._first(images)
        if self._pool:
            features = max_pool(features, size=3, stride=2)
        for group in self._groups:
            features = group(features)
        features = jax.nn.relu(self._norm(features))
        return self._logits(jnp.mean(features, axis=(1, 2)))


def _zeros(shape: Sequence[int], dtype: Any) -> jax.Array:
    return drawn_zeros(hk.next_rng_key(), tuple(shape)).astype(dtype)


class BlockGroup(hk.Module):
    """Blocks of equal width; the first one has the stride and projects its shortcut."""

    def __init__(self, channels: int, blocks: int, stride: int, name: str):
        """Makes the blocks."""
        super().__init__(name)
        self._blocks = [
            Block(channels, stride if i == 0 else 1, project=i == 0, name=f"block_{i}")
            for i in range(blocks)
        ]

    def __call__(self, features: jax.Array) -> jax.Array:
        for block in self._blocks:
            features = block(features)
        return features


class Block(hk.Module):
    """BatchNorm, ReLU and convolution, three times, beside a shortcut."""

    def __init__(self, channels: int, stride: int, *, project: bool, name: str):
        """Makes the layers; the middle convolution has a quarter of the channels and the stride."""
        super().__init__(name)
        self._shortcut = (
            Conv2D(channels, stride, 1, with_bias=False, name="shortcut_conv") if project else None
        )
        narrow = channels // 4
        sizes = ((narrow, 1, 1), (narrow, stride, 3), (channels, 1, 1))
        self._layers = [
            (BatchNorm(name=f"batchnorm_{i}"), Conv2D(*size, with_bias=False, name=f"conv_{i}"))
            for i, size in enumerate(sizes)
        ]

    def __call__(self, inputs: jax.Array) -> jax.Array:
        features, shortcut = inputs, inputs
        for i, (norm, convolve) in enumerate(self._layers):
            features = jax.nn.relu(norm(features))
            if i == 0 and self._shortcut is not None:
                shortcut = self._shortcut(features)  # of the first activated input
            features = convolve(features)
        return features + shortcut
