"""ConvNet classifiers; imports no JAX."""

from __future__ import annotations

from typing import Any

from celo.records import TaskPlugin
from celo.tasks.records.image import LARGE, OWN, dashed, image_task

_ACTIVATIONS = {"relu": "ReLU", "tanh": "tanh"}
_NORMS = {"none": "", "layer": ", LayerNorm", "batch": ", BatchNorm"}


def _conv(
    name: str, data_set: str, widths: tuple[int, ...], parameters: int, **config: Any
) -> TaskPlugin:
    activation = _ACTIVATIONS[config.get("activation", "relu")]
    norm = _NORMS[config.get("norm", "none")]
    return image_task(
        name,
        f"3x3 convolutions {dashed(widths)}, {activation}{norm}",
        data_set,
        parameters,
        family="ConvNet classifier",
        build="celo.tasks.conv:build",
        batching=LARGE,
        widths=widths,
        **config,
    )


_USUAL = (32, 64, 64)

CONV_TASKS: tuple[TaskPlugin, ...] = (
    _conv("Conv_Cifar10_32x64x64", "cifar10", _USUAL, 56_970),
    _conv("Conv_Cifar10_32x64x64_batchnorm", "cifar10", _USUAL, 57_290, norm="batch"),
    _conv("Conv_Cifar10_32x64x64_layernorm", "cifar10", _USUAL, 57_290, norm="layer"),
    _conv("Conv_Cifar10_32x64x64_Tanh", "cifar10", _USUAL, 56_970, activation="tanh"),
    _conv("Conv_Cifar10_16_32x64x64", "cifar10", _USUAL, 56_970, image_size=(16, 16)),
    _conv("Conv_Cifar10_8_16x32", "cifar10", (16, 32), 5_418, image_size=(8, 8)),
    _conv("Conv_Cifar100_32x64x64", "cifar100", _USUAL, 62_820),
    _conv("Conv_Cifar100_32x64x64_BS32", "cifar100", _USUAL, 62_820, batch_size=32),
    _conv("Conv_Cifar100_32x64x64_Tanh", "cifar100", _USUAL, 62_820, activation="tanh"),
    _conv("Conv_imagenet16_16_64x128x128x128", "imagenet16", (64, 128, 128, 128), 499_816),
    _conv("Conv_imagenet32_16_32x64x64", "imagenet32", _USUAL, 121_320),
)

DIGITS_CONVS: tuple[TaskPlugin, ...] = (
    _conv("Digits_Conv_16x32", "digits", (16, 32), 5_130, batch_size=64, citation=OWN),
)
