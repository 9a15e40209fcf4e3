"""Vision transformers and MLP-Mixers; imports no JAX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celo.records import TaskPlugin
from celo.tasks.records.image import LARGE, OWN, image_task

_VITS: Mapping[str, Mapping[str, Any]] = {
    "wideshallow": {"width": 384, "mlp_width": 1536, "heads": 6, "blocks": 6},
    "skinnydeep": {"width": 128, "mlp_width": 512, "heads": 4, "blocks": 10},
    "skinnyshallow": {"width": 64, "mlp_width": 256, "heads": 2, "blocks": 4},
}
_MIXERS: Mapping[str, Mapping[str, Any]] = {
    "small16": {"width": 768, "blocks": 8, "token_mlp_width": 384, "channel_mlp_width": 3072},
    "tiny16": {"width": 512, "blocks": 5, "token_mlp_width": 384, "channel_mlp_width": 2048},
}


def _vit(data: str, size: str, data_set: str, parameters: int, **more: Any) -> TaskPlugin:
    config = _VITS[size]
    return image_task(
        f"VIT_{data}_{size}",
        f"width {config['width']}, {config['blocks']} blocks, {config['heads']} heads",
        data_set,
        parameters,
        family="ViT classifier",
        build="celo.tasks.vit:build",
        batching=LARGE,
        **config,
        **more,
    )


def _mixer(data: str, size: str, data_set: str, parameters: int, batch: int = 128) -> TaskPlugin:
    config = _MIXERS[size]
    bs = "" if batch == 128 else f"bs{batch}_"
    return image_task(
        f"MLPMixer_{data}_{bs}{size}",
        f"width {config['width']}, {config['blocks']} blocks",
        data_set,
        parameters,
        family="MLP-Mixer classifier",
        build="celo.tasks.mixer:build",
        batching=LARGE,
        batch_size=batch,
        **config,
    )


VIT_TASKS: tuple[TaskPlugin, ...] = (
    _vit("Cifar100", "wideshallow", "cifar100", 10_983_652),
    _vit("Cifar100", "skinnydeep", "cifar100", 2_095_076),
    _vit("Food101_64", "wideshallow", "food101", 10_988_645),
    _vit("Food101_64", "skinnydeep", "food101", 2_096_741),
    _vit("ImageNet64", "wideshallow", "imagenet64", 11_334_760),
    _vit("ImageNet64", "skinnydeep", "imagenet64", 2_212_712),
    # Ours: the same design, small enough for a suite that takes minutes on a CPU.
    _vit("Cifar10", "skinnyshallow", "cifar10", 250_314, citation=OWN),
)

MIXER_TASKS: tuple[TaskPlugin, ...] = (
    _mixer("Cifar100", "tiny16", "cifar100", 10_972_152),
    _mixer("Cifar100", "tiny16", "cifar100", 10_972_152, batch=256),
    _mixer("Cifar100", "small16", "cifar100", 38_500_740),
    _mixer("Food101_64", "tiny16", "food101", 11_018_805),
    _mixer("Food101_64", "tiny16", "food101", 11_018_805, batch=256),
    _mixer("Food101_64", "small16", "food101", 38_575_333),
    _mixer("ImageNet64", "tiny16", "imagenet64", 11_479_992),
    _mixer("ImageNet64", "tiny16", "imagenet64", 11_479_992, batch=256),
    _mixer("ImageNet64", "small16", "imagenet64", 39_266_664),
)
