"""How the records of image tasks are written; imports no JAX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from celo.records import Batching, TaskPlugin

# Measured on two busy CPU cores, best of several: milliseconds of a step of Adam for 3 seeds x 15
# learning rates, as one vmapped axis / one after the other. Where the parameters of all runs
# outgrow the caches, one after the other is as fast or faster and takes less memory; small tasks
# save the overhead of each step.
#   Digits_MLP_32 0.8 / 0.8, Digits_MLP_LayerNorm_64x64 4.2 / 3.4, Digits_AE_32x8x32 1.4 / 2.0,
#   FastVelo_* 0.9 / 0.9, Digits_Conv_16x32 31 / 26,
#   ImageMLP_FashionMnist_Relu128x128 36 / 27, ImageMLPAE_Mnist_128x32x128_bs128 103 / 46,
#   ImageMLP_Cifar10_128x128x128_LayerNorm_Relu 222 / 219,
#   ImageMLP_Cifar10_128x128x128_Tanh_bs128 321 / 207, ImageMLPAE_Cifar10_128x32x128_bs256 724 / 492
# The same for 3 seeds of one learning rate, where the caches suffice longer:
#   ImageMLP_FashionMnist8_Relu32 0.17 / 0.26,
#   ESWrapped_1pair_ImageMLP_Cifar10BW8_Relu32 0.37 / 0.49,
#   ESWrapped_1pair_ImageMLP_Mnist_128x128x128_Relu 8.1 / 8.3, VIT_Cifar10_skinnyshallow 76 / 80,
#   Resnet_MultiRuntime_0 24 / 27 (with 2 to 3 times the temporary memory).
SMALL: Mapping[str, Batching] = {"default": "vmap"}
LARGE: Mapping[str, Batching] = {"default": "vmap", "cpu": "map"}

CATALOGUE = "learned_optimization (Metz et al., 2022)"
OWN = "celo"


class Images(NamedTuple):
    """What the records say about a data set.

    Attributes:
      title: its name in prose.
      side: height and width.
      channels: colours.
      classes: number of labels.
    """

    title: str
    side: int
    channels: int
    classes: int


IMAGES = {
    "mnist": Images("MNIST", 28, 1, 10),
    "fashion_mnist": Images("Fashion-MNIST", 28, 1, 10),
    "cifar10": Images("CIFAR-10", 32, 3, 10),
    "cifar100": Images("CIFAR-100", 32, 3, 100),
    "svhn_cropped": Images("SVHN", 32, 3, 10),
    "food101": Images("Food-101", 64, 3, 101),
    "imagenet16": Images("ImageNet", 16, 3, 1000),
    "imagenet32": Images("ImageNet", 32, 3, 1000),
    "imagenet64": Images("ImageNet", 64, 3, 1000),
    "digits": Images("scikit-learn's digits", 8, 1, 10),
}


def shown_data(data_set: str, config: Mapping[str, Any]) -> str:
    """The end of a summary: "on CIFAR-10 at 8x8 grey"."""
    images = IMAGES[data_set]
    side, _ = config.get("image_size") or (images.side, images.side)
    resized = side != images.side or data_set.startswith("imagenet")
    size = f" at {side}x{side}" if resized else ""
    grey = " grey" if config.get("grayscale") else ""
    return f"on {images.title}{size}{grey}"


def flat_sizes(data_set: str, config: Mapping[str, Any]) -> tuple[int, int]:
    """Numbers of an image as the task sees it, and classes."""
    images = IMAGES[data_set]
    side, _ = config.get("image_size") or (images.side, images.side)
    return side * side * (1 if config.get("grayscale") else images.channels), images.classes


def dashed(sizes: Sequence[int]) -> str:
    """Sizes of layers: "64-32-10"."""
    return "-".join(map(str, sizes))


def image_task(
    name: str,
    summary: str,
    data_set: str,
    parameters: int,
    *,
    family: str,
    build: str,
    batching: Mapping[str, Batching],
    batch_size: int = 128,
    citation: str = CATALOGUE,
    **config: Any,
) -> TaskPlugin:
    """A record whose `build` takes `data_set` and `batch_size`.

    Args:
      name: as published.
      summary: one line without the data set, which is added.
      data_set: name of the data set.
      parameters: number of trainable parameters.
      family: the kind of network.
      build: string target.
      batching: measured; see `celo.records.TaskPlugin`.
      batch_size: rows of a training batch.
      citation: where it is defined.
      **config: further keywords of `build`.
    """
    return TaskPlugin(
        name=name,
        family=family,
        summary=f"{summary}, {shown_data(data_set, config)}",
        build=build,
        data_set=data_set,
        batch_size=batch_size,
        parameters=parameters,
        config={"data_set": data_set, "batch_size": batch_size, **config},
        citation=citation,
        batching=batching,
    )
