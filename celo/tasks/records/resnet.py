"""ResNets on downsampled ImageNet; imports no JAX."""

from __future__ import annotations

from typing import Any

from celo.records import TaskPlugin
from celo.tasks.records.image import LARGE, dashed, image_task


def _resnet(
    number: int,
    data_set: str,
    batch_size: int,
    channels: tuple[int, int, int, int],
    parameters: int,
    **config: Any,
) -> TaskPlugin:
    return image_task(
        f"Resnet_MultiRuntime_{number}",
        f"bottleneck groups of {dashed(channels)} channels",
        data_set,
        parameters,
        family="ResNet classifier",
        build="celo.tasks.resnet:build",
        batching=LARGE,
        batch_size=batch_size,
        channels=channels,
        **config,
    )


RESNET_TASKS: tuple[TaskPlugin, ...] = (
    _resnet(0, "imagenet16", 64, (8, 16, 16, 16), 21_140),
    _resnet(1, "imagenet16", 64, (8, 16, 16, 32), 38_132),
    _resnet(2, "imagenet16", 64, (64, 128, 128, 128), 231_784),
    _resnet(3, "imagenet16", 192, (64, 128, 256, 512), 1_023_848, kernel=5),
    _resnet(4, "imagenet16", 192, (128, 256, 512, 512), 1_557_416, kernel=5),
    _resnet(5, "imagenet32", 128, (128, 256, 512, 512), 1_557_416, kernel=5),
    _resnet(6, "imagenet32", 256, (128, 256, 512, 512), 1_554_344),
    _resnet(7, "imagenet32", 256, (256, 512, 512, 1024), 3_535_400, kernel=5),
    _resnet(8, "imagenet64", 256, (256, 512, 1024, 1024), 5_155_880),
    _resnet(9, "imagenet64", 256, (256, 512, 1024, 1024), 13_256_232, blocks=(1, 2, 4, 5)),
    _resnet(
        10,
        *("imagenet64", 256, (256, 512, 1024, 1024), 10_744_872),
        blocks=(1, 1, 3, 4),
        kernel=5,
        pool=False,
    ),
)
