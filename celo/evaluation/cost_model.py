"""Seconds that a block would take, from records alone: rough, and the same everywhere.

It decides which shard computes a block, so it must depend on nothing that differs between machines
or moments; and it stands in where nothing was recorded yet (`estimates`). Imports no JAX.
"""

from __future__ import annotations

import math

from celo import registry
from celo.errors import CeloError
from celo.evaluation.cells import Schedule
from celo.records import OptimizerPlugin, TaskPlugin

MODEL = (
    "6 x parameters x batch x positions floating-point operations a step (2 for each evaluated "
    "batch), 2000 a parameter for a learned update, at 20 GFLOP/s; 0.1 ms a step; 10 s to compile"
)
_FLOPS_PER_S = 20e9
_OVERHEAD_S = 1e-4
_COMPILE_S = 10.0
_LEARNED_FLOPS = 2000.0


def model_seconds(
    task: TaskPlugin, optimizer: OptimizerPlugin, runs: int, schedule: Schedule
) -> float:
    """Seconds of a block by the model (`MODEL`): a function of the records alone.

    Args:
      task: what is trained.
      optimizer: by what.
      runs: seeds times members of a tuning grid.
      schedule: of the runs.
    """
    work = task.parameters * task.batch_size * _positions(task)
    points = math.ceil(schedule.steps / schedule.eval_every) + 1
    update = _LEARNED_FLOPS if optimizer.kind == "learned" else 10.0
    step = 6.0 * work + update * task.parameters
    evaluation = 2.0 * work * 3 * schedule.eval_batches
    flops = schedule.steps * step + points * evaluation
    return _COMPILE_S + runs * (schedule.steps * _OVERHEAD_S + flops / _FLOPS_PER_S)


def _positions(task: TaskPlugin) -> float:
    """How often a row uses a weight, as far as the record tells: tokens, or pixels and patches."""
    length = task.config.get("length")
    if isinstance(length, int):
        return float(length)
    if "conv" in task.family.lower():
        size = task.config.get("image_size")
        height, width = size if size else _image_size(task)
        return max(1.0, height * width / 4)  # early layers see every pixel, late ones few
    return 1.0


def _image_size(task: TaskPlugin) -> tuple[float, float]:
    try:
        height, width, _ = registry.data_set(task.data_set).record.image_shape
    except (CeloError, TypeError, ValueError):
        return 1.0, 1.0
    return float(height), float(width)
