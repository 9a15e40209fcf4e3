"""MLP autoencoders (spec of the tasks, 1.3)."""

from __future__ import annotations

from collections.abc import Sequence

import haiku as hk
import jax
import jax.numpy as jnp

from celo.data import DataSelection
from celo.data.datasets import image_datasets
from celo.protocol import Batch
from celo.tasks import normalizers
from celo.tasks.image_task import ImageTask, flatten_images


def build(
    *,
    name: str,
    data: DataSelection,
    data_set: str,
    batch_size: int,
    hidden: Sequence[int],
    image_size: tuple[int, int] | None = None,
    grayscale: bool = False,
) -> ImageTask:
    """An autoencoder of flattened images: ReLU layers, a sigmoid output, mean squared error.

    Args:
      name: of the task.
      data: which data stands behind `data_set`.
      data_set: name of the data set.
      batch_size: rows of a batch.
      hidden: widths of the hidden layers.
      image_size: resize images to this height and width; None keeps them.
      grayscale: average the colours.
    """

    def batch_loss(batch: Batch) -> jax.Array:
        pixels = flatten_images(batch)
        outputs = hk.nets.MLP([*hidden, pixels.shape[-1]])(pixels)
        return jnp.mean(jnp.square(pixels - jax.nn.sigmoid(outputs)))

    datasets = image_datasets(data_set, batch_size, image_size, grayscale, data)
    network = hk.transform_with_state(batch_loss)
    return ImageTask(name, network, datasets, normalizers.autoencoder)
