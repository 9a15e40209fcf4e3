"""ConvNet classifiers (spec of the tasks, 1.3)."""

from __future__ import annotations

import functools
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
    features = images
    for i, width in enumerate(widths):
        features = jax.nn.relu(Conv2D(width, stride=2 if i == 0 else 1)(features))
    return hk.Linear(num_classes)(jnp.mean(features, axis=(1, 2)))


class Conv2D(hk.Module):
    """`hk.Conv2D` with a 3x3 kernel and SAME padding, fast inside loops on a CPU too.

    Same names, parameters and initial values as Haiku's, same numbers up to rounding.
    """

    def __init__(self, output_channels: int, stride: int):
        """Takes what differs between the layers."""
        super().__init__()
        self._channels = output_channels
        self._stride = stride

    def __call__(self, images: jax.Array) -> jax.Array:
        shape = (_KERNEL, _KERNEL, images.shape[-1], self._channels)
        deviation = 1 / np.sqrt(np.prod(shape[:-1]))
        w = hk.get_parameter("w", shape, init=hk.initializers.TruncatedNormal(deviation))
        b = hk.get_parameter("b", shape[-1:], init=jnp.zeros)
        # XLA's CPU convolution is naive inside a loop, where all training happens. Measured there
        # (two cores, a step of SGD), slices take 0.7 ms instead of 7.9 for Digits_Conv_16x32, and
        # 0.2 s instead of 6 to 14 for widths 32, 64, 64 on 128 images of 32x32.
        convolve = functools.partial(
            jax.lax.platform_dependent,
            cpu=functools.partial(sliced_convolution, stride=self._stride),
            default=functools.partial(plain_convolution, stride=self._stride),
        )
        return convolve(images, w) + b


def plain_convolution(images: jax.Array, w: jax.Array, *, stride: int) -> jax.Array:
    """SAME convolution of [B, H, W, inputs] with [k, k, inputs, outputs]."""
    layout = ("NHWC", "HWIO", "NHWC")
    strides = (stride, stride)
    return jax.lax.conv_general_dilated(images, w, strides, "SAME", dimension_numbers=layout)


def sliced_convolution(images: jax.Array, w: jax.Array, *, stride: int) -> jax.Array:
    """The same sums as `plain_convolution`: shifted slices side by side and one matrix product."""
    size, _, inputs, outputs = w.shape
    rows, columns = (-(-side // stride) for side in images.shape[1:3])
    padding = [_same(side, size, stride) for side in images.shape[1:3]]
    padded = jnp.pad(images, [(0, 0), *padding, (0, 0)])
    patches = [
        padded[
            :,
            y : y + stride * (rows - 1) + 1 : stride,
            x : x + stride * (columns - 1) + 1 : stride,
        ]
        for y in range(size)
        for x in range(size)
    ]
    flat = jnp.concatenate(patches, axis=-1)
    return flat @ w.reshape(size * size * inputs, outputs)


def _same(side: int, size: int, stride: int) -> tuple[int, int]:
    """Zeros before and after; an odd number of them has the larger half after."""
    total = max((-(-side // stride) - 1) * stride + size - side, 0)
    return total // 2, total - total // 2
