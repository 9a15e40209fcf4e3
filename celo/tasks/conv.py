"""ConvNet classifiers (spec of the tasks, 1.3)."""

from __future__ import annotations

from collections.abc import Sequence

import haiku as hk
import jax
import jax.numpy as jnp

from celo.data import DataSelection
from celo.data.datasets import image_datasets
from celo.protocol import Batch
from celo.tasks.convolution import Conv2D
from celo.tasks.image_task import ImageTask, cross_entropy
from celo.tasks.layers import ACTIVATIONS, Activation, Norm, normalized, state_kind
from celo.tasks.normalizers import conv_classifier


def build(
    *,
    name: str,
    data: DataSelection,
    data_set: str,
    batch_size: int,
    widths: Sequence[int],
    activation: Activation = "relu",
    norm: Norm = "none",
    image_size: tuple[int, int] | None = None,
    grayscale: bool = False,
) -> ImageTask:
    """3x3 convolutions with an activation, the mean over the image, one linear layer.

    Args:
      name: of the task.
      data: which data stands behind `data_set`.
      data_set: name of the data set.
      batch_size: rows of a batch.
      widths: channels of the convolutions; the first has stride 2, the others 1.
      activation: after every convolution.
      norm: after every activation.
      image_size: resize images to this height and width; None keeps them.
      grayscale: average the colours.
    """
    datasets = image_datasets(data_set, batch_size, image_size, grayscale, data)
    num_classes = datasets.extra_info["num_classes"]

    def batch_loss(batch: Batch) -> jax.Array:
        logits = conv_net(batch["image"], widths, num_classes, activation, norm)
        return cross_entropy(logits, batch["label"])

    return ImageTask(
        name,
        hk.transform_with_state(batch_loss),
        datasets,
        conv_classifier(num_classes),
        state=state_kind(norm, without="empty"),
    )


def conv_net(
    images: jax.Array,
    widths: Sequence[int],
    num_classes: int,
    activation: Activation = "relu",
    norm: Norm = "none",
) -> jax.Array:
    """Logits [B, num_classes] of images [B, H, W, C]; inside a Haiku transform."""
    features = images
    for i, width in enumerate(widths):
        features = Conv2D(width, stride=2 if i == 0 else 1)(features)
        features = normalized(ACTIVATIONS[activation](features), norm)
    return hk.Linear(num_classes)(jnp.mean(features, axis=(1, 2)))
