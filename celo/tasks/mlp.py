"""MLP classifiers (spec of the tasks, 1.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import haiku as hk
import jax
import jax.numpy as jnp

from celo.data import DataSelection
from celo.data.datasets import image_datasets
from celo.protocol import Batch
from celo.tasks.image_task import ImageTask, cross_entropy, flatten_images
from celo.tasks.normalizers import mlp_classifier

_ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {"relu": jax.nn.relu, "tanh": jnp.tanh}


def build(
    *,
    name: str,
    data: DataSelection,
    data_set: str,
    batch_size: int,
    hidden: Sequence[int],
    activation: Literal["relu", "tanh"] = "relu",
    layer_norm: bool = False,
    image_size: tuple[int, int] | None = None,
    grayscale: bool = False,
) -> ImageTask:
    """A classifier of flattened images.

    Args:
      name: of the task.
      data: which data stands behind `data_set`.
      data_set: name of the data set.
      batch_size: rows of a batch.
      hidden: widths of the hidden layers.
      activation: after every hidden layer.
      layer_norm: normalise the features before every activation; the model state is an empty
        mapping then.
      image_size: resize images to this height and width; None keeps them.
      grayscale: average the colours.
    """
    datasets = image_datasets(data_set, batch_size, image_size, grayscale, data)
    num_classes = datasets.extra_info["num_classes"]
    network = _layer_norm_mlp if layer_norm else _plain_mlp

    def batch_loss(batch: Batch) -> jax.Array:
        logits = network(flatten_images(batch), [*hidden, num_classes], _ACTIVATIONS[activation])
        return cross_entropy(logits, batch["label"])

    normalizer = mlp_classifier(num_classes)
    return ImageTask(name, batch_loss, datasets, normalizer, empty_state=layer_norm)


# hk.Linear draws weights from the normal distribution of deviation 1/sqrt(inputs), cut at two
# deviations, and starts biases at zero: the initialisers of the reference.


def _plain_mlp(
    inputs: jax.Array, widths: Sequence[int], activation: Callable[[jax.Array], jax.Array]
) -> jax.Array:
    return hk.nets.MLP(widths, activation=activation)(inputs)


def _layer_norm_mlp(
    inputs: jax.Array, widths: Sequence[int], activation: Callable[[jax.Array], jax.Array]
) -> jax.Array:
    *hidden, outputs = widths
    for width in hidden:
        inputs = hk.Linear(width)(inputs)
        inputs = hk.LayerNorm(axis=-1, create_scale=True, create_offset=True, eps=1e-5)(inputs)
        inputs = activation(inputs)
    return hk.Linear(outputs)(inputs)
