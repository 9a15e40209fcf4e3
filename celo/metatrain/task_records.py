"""Small tasks for meta-training alone, so that all others can judge what comes out; no JAX."""

from __future__ import annotations

from typing import Any

from celo.records import TaskPlugin


def _task(
    name: str, summary: str, data_set: str, parameters: int, family: str, build: str, **config: Any
) -> TaskPlugin:
    common = {"data_set": data_set, "batch_size": 64, "image_size": (8, 8), "grayscale": True}
    return TaskPlugin(
        name=name,
        family=family,
        summary=f"{summary}, on {data_set} at 8x8 grey; for meta-training",
        build=build,
        data_set=data_set,
        batch_size=64,
        parameters=parameters,
        config={**common, **config},
        citation="celo",
    )


_MLP = ("MLP classifier", "celo.tasks.mlp:build")

TASKS: tuple[TaskPlugin, ...] = (
    _task(
        *("Meta_MLP_LayerNorm_32x32", "64-32-32-10, LayerNorm and ReLU", "fashion_mnist", 3_594),
        *_MLP,
        hidden=(32, 32),
        norm="layer",
    ),
    _task(
        *("Meta_MLP_Tanh_16x16x16", "64-16-16-16-10, tanh", "mnist", 1_754),
        *_MLP,
        hidden=(16, 16, 16),
        activation="tanh",
    ),
    _task(
        *("Meta_Conv_8x16", "3x3 convolutions 8 (stride 2) and 16, ReLU", "cifar10", 1_418),
        *("ConvNet classifier", "celo.tasks.conv:build"),
        widths=(8, 16),
    ),
    _task(
        *("Meta_AE_32x8x32", "64-32-8-32-64", "mnist", 4_744),
        *("MLP autoencoder", "celo.tasks.autoencoder:build"),
        hidden=(32, 8, 32),
    ),
    # Shakespeare, so that no other text set is one of meta-training.
    TaskPlugin(
        name="Meta_RNNLM_bytes_Patch8_GRU16_Embed8",
        family="small recurrent LM",
        summary="GRU of width 16, embedding of 8, on 8 bytes of Shakespeare; for meta-training",
        build="celo.tasks.rnn_lm:build",
        data_set="tinyshakespeare",
        vocabulary="bytes",
        batch_size=16,
        parameters=7_691,
        config={
            "data_set": "tinyshakespeare",
            "vocabulary": "bytes",
            "batch_size": 16,
            "length": 8,
            "cell": "GRU",
            "hidden": 16,
            "embedding": 8,
        },
        citation="celo",
    ),
)
