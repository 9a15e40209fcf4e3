"""Tasks that train a learned optimizer; imports no JAX."""

from __future__ import annotations

from celo.records import TaskPlugin
from celo.tasks.records.conv import CONV_TASKS
from celo.tasks.records.evolution import evolution_task
from celo.tasks.records.image import CATALOGUE, LARGE
from celo.tasks.records.mlp import MLP_TASKS

_INNER = {record.name: record for record in (*MLP_TASKS, *CONV_TASKS)}
_FASHION = _INNER["ImageMLP_FashionMnist8_Relu32"]
_CIFAR_8 = _INNER["Conv_Cifar10_8_16x32"]
_CIFAR_16 = _INNER["Conv_Cifar10_16_32x64x64"]

_OPTIMIZERS = {"adafac-mlp-lopt": (197, 2), "mlp-lopt": (1_762, 2), "learnable-adam": (4, 1)}
"""Names of registered learned optimizers, numbers of their weights, versions of their numerics."""


def _lopt(name: str, optimizer: str, inner: TaskPlugin, steps: int) -> TaskPlugin:
    parameters, version = _OPTIMIZERS[optimizer]
    return TaskPlugin(
        name=name,
        family="learned-optimizer training",
        summary=f"weights of {optimizer}, through {steps} steps of {inner.name}",
        build="celo.tasks.learned_optimizer:build",
        data_set=inner.data_set,
        batch_size=inner.batch_size,
        parameters=parameters,
        numerics_version=version,
        config={
            "optimizer": optimizer,
            "task": inner.build,
            "config": dict(inner.config),
            "inner_steps": steps,
        },
        citation=CATALOGUE,
        batching=LARGE,
        stack=steps,
    )


def _es(name: str, inner: TaskPlugin) -> TaskPlugin:
    return evolution_task(name, inner, pairs=4, family=inner.family)


# Misspelt names ("Fahion") are the published ones.
LOPT_TASKS: tuple[TaskPlugin, ...] = (
    _lopt("LOpt_AdafacMLPLOpt_FashionMnist_50", "adafac-mlp-lopt", _FASHION, 50),
    _lopt("LOpt_AdafacMLPLOpt_FashionMnist_20", "adafac-mlp-lopt", _FASHION, 20),
    _lopt("LOpt_AdafacMLPLOpt_Cifar10_8_10", "adafac-mlp-lopt", _CIFAR_8, 10),
    _lopt("LOpt_MLPLOpt_FahionMnist_10", "mlp-lopt", _FASHION, 10),
    _lopt("LOpt_MLPLOpt_FahionMnist_50", "mlp-lopt", _FASHION, 50),
    _lopt("LOpt_MLPLOpt_FahionMnist_100", "mlp-lopt", _FASHION, 100),
    _lopt("LOpt_MLPLOpt_Cifar10_16_10", "mlp-lopt", _CIFAR_16, 10),
    _lopt("LOpt_MLPLOpt_Cifar10_8_50", "mlp-lopt", _CIFAR_8, 50),
    _lopt("LOpt_LearnableAdam_Cifar10_8_50", "learnable-adam", _CIFAR_8, 50),
    _lopt("LOpt_LearnableAdam_Cifar10_8_200", "learnable-adam", _CIFAR_8, 200),
)

_BY_NAME = {record.name: record for record in LOPT_TASKS}

LOPT_EVOLUTION_TASKS: tuple[TaskPlugin, ...] = (
    _es("LOpt_ES4_AdafacMLPLOpt_FashionMnist_20", _BY_NAME["LOpt_AdafacMLPLOpt_FashionMnist_20"]),
    _es("LOpt_ES4_LOpt_MLPLOpt_Cifar10_16_10", _BY_NAME["LOpt_MLPLOpt_Cifar10_16_10"]),
    _es("LOpt_ES4_LOpt_MLPLOpt_FahionMnist_50", _BY_NAME["LOpt_MLPLOpt_FahionMnist_50"]),
)
