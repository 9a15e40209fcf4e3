"""MLP classifiers (spec of the tasks, 1.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import haiku as hk
import jax

from celo.data import DataSelection
from celo.data.datasets import image_datasets
from celo.protocol import Batch
from celo.tasks import normalizers
from celo.tasks.image_task import ImageTask, cross_entropy, flatten_images, mean_squared_error
from celo.tasks.layers import ACTIVATIONS, Activation, Norm, normalized, state_kind


def build(
    *,
    name: str,
    data: DataSelection,
    data_set: str,
    batch_size: int,
    hidden: Sequence[int],
    activation: Activation = "relu",
    norm: Norm = "none",
    dropout: float = 0.0,
    loss: Literal["cross-entropy", "mse"] = "cross-entropy",
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
      norm: of the features before every activation.
      dropout: before every hidden activation, in evaluation too; only without a norm.
      loss: of the logits: cross-entropy, or the mean squared difference to the one-hot label.
      image_size: resize images to this height and width; None keeps them.
      grayscale: average the colours.
    """
    datasets = image_datasets(data_set, batch_size, image_size, grayscale, data)
    num_classes = datasets.extra_info["num_classes"]
    widths = [*hidden, num_classes]
    measure = cross_entropy if loss == "cross-entropy" else mean_squared_error

    def batch_loss(batch: Batch) -> jax.Array:
        pixels = flatten_images(batch)
        if norm == "none":
            logits = _plain_mlp(pixels, widths, activation, dropout)
        else:
            logits = _normalized_mlp(pixels, widths, activation, norm)
        return measure(logits, batch["label"])

    normalizer = (
        normalizers.mlp_classifier(num_classes)
        if loss == "cross-entropy"
        else normalizers.mse_classifier
    )
    state = state_kind(norm, without="none" if norm == "none" else "empty")
    network = hk.transform_with_state(batch_loss)
    return ImageTask(name, network, datasets, normalizer, state=state)


# hk.Linear draws weights from the normal distribution of deviation 1/sqrt(inputs), cut at two
# deviations, and starts biases at zero: the initialisers of the reference.


def _plain_mlp(
    inputs: jax.Array, widths: Sequence[int], activation: Activation, dropout: float
) -> jax.Array:
    network = hk.nets.MLP(widths, activation=ACTIVATIONS[activation])
    return network(inputs, dropout, hk.next_rng_key()) if dropout else network(inputs)


def _normalized_mlp(
    inputs: jax.Array, widths: Sequence[int], activation: Activation, norm: Norm
) -> jax.Array:
    *hidden, outputs = widths
    for width in hidden:
        inputs = ACTIVATIONS[activation](normalized(hk.Linear(width)(inputs), norm))
    return hk.Linear(outputs)(inputs)
