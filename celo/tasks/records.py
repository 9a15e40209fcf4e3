"""The tasks celo knows by itself; imports no JAX."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

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
_SMALL: Mapping[str, Batching] = {"default": "vmap"}
_LARGE: Mapping[str, Batching] = {"default": "vmap", "cpu": "map"}

_CITATION = "learned_optimization (Metz et al., 2022)"
_OWN = "celo"


def _image_task(
    name: str,
    summary: str,
    data_set: str,
    batch_size: int,
    parameters: int,
    *,
    family: str,
    build: str,
    batching: Mapping[str, Batching],
    citation: str = _CITATION,
    **config: Any,
) -> TaskPlugin:
    return TaskPlugin(
        name=name,
        family=family,
        summary=summary,
        build=build,
        data_set=data_set,
        batch_size=batch_size,
        parameters=parameters,
        config={"data_set": data_set, "batch_size": batch_size, **config},
        citation=citation,
        batching=batching,
    )


_mlp = functools.partial(_image_task, family="MLP classifier", build="celo.tasks.mlp:build")
_autoencoder = functools.partial(
    _image_task, family="MLP autoencoder", build="celo.tasks.autoencoder:build"
)


MLP_TASKS: tuple[TaskPlugin, ...] = (
    _mlp(
        "ImageMLP_FashionMnist_Relu128x128",
        "784-128-128-10, ReLU, on Fashion-MNIST",
        *("fashion_mnist", 128, 118_282),
        batching=_LARGE,
        hidden=(128, 128),
    ),
    _mlp(
        "ImageMLP_Cifar10_128x128x128_LayerNorm_Relu",
        "3072-128-128-128-10, LayerNorm and ReLU, on CIFAR-10",
        *("cifar10", 128, 428_426),
        batching=_LARGE,
        hidden=(128, 128, 128),
        layer_norm=True,
    ),
    _mlp(
        "ImageMLP_Cifar10_128x128x128_Tanh_bs128",
        "3072-128-128-128-10, tanh, on CIFAR-10",
        *("cifar10", 128, 427_658),
        batching=_LARGE,
        hidden=(128, 128, 128),
        activation="tanh",
    ),
)

AUTOENCODER_TASKS: tuple[TaskPlugin, ...] = (
    _autoencoder(
        "ImageMLPAE_Cifar10_128x32x128_bs256",
        "3072-128-32-128-3072 on CIFAR-10",
        *("cifar10", 256, 797_984),
        batching=_LARGE,
        hidden=(128, 32, 128),
    ),
    _autoencoder(
        "ImageMLPAE_Mnist_128x32x128_bs128",
        "784-128-32-128-784 on MNIST",
        *("mnist", 128, 209_968),
        batching=_LARGE,
        hidden=(128, 32, 128),
    ),
)

# The four meta-training tasks of the published code, which gives them one name for all four.
FAST_VELO_TASKS: tuple[TaskPlugin, ...] = tuple(
    _mlp(
        f"FastVelo_{short}",
        f"64-32-10, ReLU, on {title} at 8x8 grey",
        *(data_set, 64, 2_410),
        batching=_SMALL,
        hidden=(32,),
        image_size=(8, 8),
        grayscale=True,
    )
    for short, data_set, title in (
        ("cifar10", "cifar10", "CIFAR-10"),
        ("fashion_mnist", "fashion_mnist", "Fashion-MNIST"),
        ("mnist", "mnist", "MNIST"),
        ("svhn", "svhn_cropped", "SVHN"),
    )
)

# Small enough for a laptop, on data that comes with scikit-learn.
DIGITS_TASKS: tuple[TaskPlugin, ...] = (
    _mlp(
        "Digits_MLP_32",
        "64-32-10, ReLU, on scikit-learn's digits",
        *("digits", 64, 2_410),
        batching=_SMALL,
        citation=_OWN,
        hidden=(32,),
    ),
    _mlp(
        "Digits_MLP_LayerNorm_64x64",
        "64-64-64-10, LayerNorm and ReLU, on scikit-learn's digits",
        *("digits", 64, 9_226),
        batching=_SMALL,
        citation=_OWN,
        hidden=(64, 64),
        layer_norm=True,
    ),
    _image_task(
        "Digits_Conv_16x32",
        "3x3 convolutions 16 (stride 2) and 32, ReLU, on scikit-learn's digits",
        *("digits", 64, 5_130),
        family="ConvNet classifier",
        build="celo.tasks.conv:build",
        batching=_LARGE,
        citation=_OWN,
        widths=(16, 32),
    ),
    _autoencoder(
        "Digits_AE_32x8x32",
        "64-32-8-32-64 on scikit-learn's digits",
        *("digits", 64, 4_744),
        batching=_SMALL,
        citation=_OWN,
        hidden=(32, 8, 32),
    ),
)
