"""ConvNet classifiers (spec of the tasks, 1.3)."""

from __future__ import annotations

from collections.abc import Sequence

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from celo.data import DataSelection
from celo.data.datasets import image_datasets
from celo.protocol import Batch
from celo.tasks.image_task import ImageTask, cross_entropy
from celo.tasks.normalizers import conv_classifier

_KERNEL = 3
# On a CPU, XLA's convolution of small images is slower than the same sums as one matrix product.
_LARGEST_SLICED_SIDE = 8


def build(
    *,
    name: str,
    data: DataSelection,
    data_set: str,
    batch_size: int,
    widths: Sequence[int],
    image_size: tuple[int, int] | None = None,
    grayscale: bool = False,
) -> ImageTask:
    """3x3 convolutions with ReLU, the mean over the image, one linear layer.

    Args:
      name: of the task.
      data: which data stands behind `data_set`.
      data_set: name of the data set.
      batch_size: rows of a batch.
      widths: channels of the convolutions; the first has stride 2, the others 1.
      image_size: resize images to this height and width; None keeps them.
      grayscale: average the colours.
    """
    datasets = image_datasets(data_set, batch_size, image_size, grayscale, data)
    num_classes = datasets.extra_info["num_classes"]

    def batch_loss(batch: Batch) -> jax.Array:
        logits = conv_net(batch["image"], widths, num_classes)
        return cross_entropy(logits, batch["label"])

    return ImageTask(name, batch_loss, datasets, conv_classifier(num_classes), empty_state=True)


def conv_net(images: jax.Array, widths: Sequence[int], num_classes: int) -> jax.Array:
    """Logits [B, num_classes] of images [B, H, W, C]; inside a Haiku transform."""
    sliced = max(images.shape[1:3]) <= _LARGEST_SLICED_SIDE
    module = SlicedConv2D if sliced else hk.Conv2D
    features = images
    for i, width in enumerate(widths):
        convolution = module(width, _KERNEL, stride=2 if i == 0 else 1, name="conv2_d")
        features = jax.nn.relu(convolution(features))
    return hk.Linear(num_classes)(jnp.mean(features, axis=(1, 2)))


class SlicedConv2D(hk.Module):
    """`hk.Conv2D` with SAME padding as shifted slices and one matrix product.

    Same parameters, same initial values, same numbers up to rounding.
    """

    def __init__(self, output_channels: int, kernel_shape: int, stride: int, name: str):
        """Takes the arguments of `hk.Conv2D`."""
        super().__init__(name=name)
        self._channels = output_channels
        self._kernel = kernel_shape
        self._stride = stride

    def __call__(self, images: jax.Array) -> jax.Array:
        size, stride, inputs = self._kernel, self._stride, images.shape[-1]
        shape = (size, size, inputs, self._channels)
        deviation = 1 / np.sqrt(size * size * inputs)
        w = hk.get_parameter("w", shape, init=hk.initializers.TruncatedNormal(deviation))
        b = hk.get_parameter("b", (self._channels,), init=jnp.zeros)
        rows, columns = (-(-side // stride) for side in images.shape[1:3])
        padding = [_same(side, size, stride) for side in images.shape[1:3]]
        padded = jnp.pad(images, [(0, 0), *padding, (0, 0)])
        patches = [
            padded[:, y : y + stride * rows : stride, x : x + stride * columns : stride][
                :, :rows, :columns
            ]
            for y in range(size)
            for x in range(size)
        ]
        flat = jnp.concatenate(patches, axis=-1)
        return flat @ w.reshape(size * size * inputs, self._channels) + b


def _same(side: int, size: int, stride: int) -> tuple[int, int]:
    """Zeros before and after; an odd number of them has the larger half after."""
    total = max((-(-side // stride) - 1) * stride + size - side, 0)
    return total // 2, total - total // 2
