"""Tasks whose gradient is estimated by evolution strategies; imports no JAX."""

from __future__ import annotations

from dataclasses import replace

from celo.records import TaskPlugin
from celo.tasks.records.mlp import MLP_TASKS

FAMILY = "evolution strategies"


def evolution_task(name: str, inner: TaskPlugin, pairs: int, *, family: str = FAMILY) -> TaskPlugin:
    """The record of a task with an estimated gradient.

    Args:
      name: of the new task.
      inner: of the task whose loss it has.
      pairs: antithetic pairs a gradient.
      family: of the new task.
    """
    estimate = "1 antithetic pair" if pairs == 1 else f"{pairs} antithetic pairs"
    return replace(
        inner,
        name=name,
        family=family,
        summary=f"{inner.name}, gradient from {estimate}",
        build="celo.tasks.evolution:build",
        config={"task": inner.build, "config": dict(inner.config), "pairs": pairs},
    )


_INNER = {record.name: record for record in MLP_TASKS}

EVOLUTION_TASKS: tuple[TaskPlugin, ...] = tuple(
    evolution_task(f"ESWrapped_{pairs}pair_{name}", _INNER[name], pairs)
    for pairs, name in (
        (1, "ImageMLP_Cifar10BW8_Relu32"),
        (1, "ImageMLP_Cifar10_128x128x128_Relu"),
        (1, "ImageMLP_FashionMnist8_Relu32"),
        (1, "ImageMLP_Mnist_128x128x128_Relu"),
        (8, "ImageMLP_Cifar10_128x128x128_Relu"),
        (8, "ImageMLP_Mnist_128x128x128_Relu"),
    )
)
