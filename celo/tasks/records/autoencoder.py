"""MLP autoencoders; imports no JAX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celo.records import Batching, TaskPlugin
from celo.tasks.records.image import LARGE, OWN, SMALL, dashed, flat_sizes, image_task


def _autoencoder(
    name: str,
    data_set: str,
    hidden: tuple[int, ...],
    parameters: int,
    *,
    batching: Mapping[str, Batching] = LARGE,
    **config: Any,
) -> TaskPlugin:
    pixels, _ = flat_sizes(data_set, config)
    return image_task(
        name,
        f"{dashed((pixels, *hidden, pixels))}, ReLU",
        data_set,
        parameters,
        family="MLP autoencoder",
        build="celo.tasks.autoencoder:build",
        batching=batching,
        hidden=hidden,
        **config,
    )


def _cifar10(hidden: tuple[int, ...], batch_size: int, parameters: int) -> TaskPlugin:
    name = f"ImageMLPAE_Cifar10_{'x'.join(map(str, hidden))}_bs{batch_size}"
    return _autoencoder(name, "cifar10", hidden, parameters, batch_size=batch_size)


AUTOENCODER_TASKS: tuple[TaskPlugin, ...] = (
    _cifar10((128, 32, 128), 256, 797_984),
    _cifar10((256, 256, 256), 128, 1_707_776),
    _cifar10((256, 256, 256), 1024, 1_707_776),
    _cifar10((32, 32, 32), 128, 201_824),
    _autoencoder("ImageMLPAE_Mnist_128x32x128_bs128", "mnist", (128, 32, 128), 209_968),
    _autoencoder(
        "ImageMLPAE_FashionMnist_128x32x128_bs128", "fashion_mnist", (128, 32, 128), 209_968
    ),
)

DIGITS_AUTOENCODERS: tuple[TaskPlugin, ...] = (
    _autoencoder(
        "Digits_AE_32x8x32",
        *("digits", (32, 8, 32), 4_744),
        batch_size=64,
        batching=SMALL,
        citation=OWN,
    ),
)
