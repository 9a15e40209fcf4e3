"""MLP classifiers; imports no JAX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celo.records import Batching, TaskPlugin
from celo.tasks.records.image import LARGE, OWN, SMALL, dashed, flat_sizes, image_task

_ACTIVATIONS = {"relu": "ReLU", "tanh": "tanh"}
_NORMS = {"none": "", "layer": "LayerNorm and ", "batch": "BatchNorm and "}


def mlp(
    name: str,
    data_set: str,
    hidden: tuple[int, ...],
    parameters: int,
    *,
    batching: Mapping[str, Batching] = LARGE,
    **config: Any,
) -> TaskPlugin:
    """The record of one MLP classifier; its summary is made from the configuration."""
    inputs, classes = flat_sizes(data_set, config)
    norm = _NORMS[config.get("norm", "none")]
    parts = [f"{dashed((inputs, *hidden, classes))}, "]
    parts.append(norm + _ACTIVATIONS[config.get("activation", "relu")])
    if "dropout" in config:
        parts.append(f", dropout {config['dropout']}")
    if config.get("loss") == "mse":
        parts.append(", squared error")
    return image_task(
        name,
        "".join(parts),
        data_set,
        parameters,
        family="MLP classifier",
        build="celo.tasks.mlp:build",
        batching=batching,
        hidden=hidden,
        **config,
    )


_128X2, _128X3 = (128, 128), (128, 128, 128)
_GREY_8 = {"image_size": (8, 8), "grayscale": True, "batching": SMALL}


def _cifar10_128x3(ending: str, parameters: int = 427_658, **config: Any) -> TaskPlugin:
    name = f"ImageMLP_Cifar10_128x128x128_{ending}"
    return mlp(name, "cifar10", _128X3, parameters, **config)


MLP_TASKS: tuple[TaskPlugin, ...] = (
    mlp("ImageMLP_FashionMnist_Relu128x128", "fashion_mnist", _128X2, 118_282),
    _cifar10_128x3("LayerNorm_Relu", 428_426, norm="layer"),
    _cifar10_128x3("LayerNorm_Tanh", 428_426, norm="layer", activation="tanh"),
    _cifar10_128x3("BatchNorm_Relu", 428_426, norm="batch"),
    _cifar10_128x3("BatchNorm_Tanh", 428_426, norm="batch", activation="tanh"),
    _cifar10_128x3("Tanh_bs64", activation="tanh", batch_size=64),
    _cifar10_128x3("Tanh_bs128", activation="tanh"),
    _cifar10_128x3("Tanh_bs256", activation="tanh", batch_size=256),
    _cifar10_128x3("Relu"),
    _cifar10_128x3("Relu_MSE", loss="mse"),
    *(
        mlp(
            f"ImageMLP_Cifar10_128x128_Dropout0{tenths}_Relu_MSE",
            *("cifar10", _128X2, 411_146),
            dropout=tenths / 10,
            loss="mse",
        )
        for tenths in (2, 5, 8)
    ),
    *(
        mlp(f"ImageMLP_Cifar10_{width}x{width}_Relu", "cifar10", (width, width), parameters)
        for width, parameters in (
            (256, 855_050),
            (1024, 4_206_602),
            (4096, 29_409_290),
            (8192, 92_373_002),
            (16384, 318_963_722),
        )
    ),
    mlp("ImageMLP_Cifar10_256x256_Relu_BS32", "cifar10", (256, 256), 855_050, batch_size=32),
    mlp("ImageMLP_Cifar10_8_Relu32", "cifar10", (32,), 6_506, image_size=(8, 8), batching=SMALL),
    mlp("ImageMLP_Cifar10BW8_Relu32", "cifar10", (32,), 2_410, **_GREY_8),
    mlp("ImageMLP_Cifar100_128x128x128_Relu", "cifar100", _128X3, 439_268),
    *(
        mlp(
            f"ImageMLP_FashionMnist{side}_Relu32",
            *("fashion_mnist", (32,), parameters),
            image_size=(side, side),
            batching=SMALL,
        )
        for side, parameters in ((8, 2_410), (16, 8_554), (32, 33_130))
    ),
    mlp("ImageMLP_Imagenet16_Relu256x256x256", "imagenet16", (256, 256, 256), 585_448),
    mlp("ImageMLP_Mnist_128x128x128_Relu", "mnist", _128X3, 134_794),
)

# The four meta-training tasks of the published code, which gives them one name for all four.
FAST_VELO_TASKS: tuple[TaskPlugin, ...] = tuple(
    mlp(f"FastVelo_{short}", data_set, (32,), 2_410, batch_size=64, **_GREY_8)
    for short, data_set in (
        ("cifar10", "cifar10"),
        ("fashion_mnist", "fashion_mnist"),
        ("mnist", "mnist"),
        ("svhn", "svhn_cropped"),
    )
)

_own = {"batch_size": 64, "batching": SMALL, "citation": OWN}
DIGITS_MLPS: tuple[TaskPlugin, ...] = (
    mlp("Digits_MLP_32", "digits", (32,), 2_410, **_own),
    mlp("Digits_MLP_LayerNorm_64x64", "digits", (64, 64), 9_226, norm="layer", **_own),
)
