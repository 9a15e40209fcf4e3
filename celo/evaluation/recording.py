"""What a block's arrays become on disk: cells with status, cost and provenance."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from celo.evaluation.cells import Cell
from celo.evaluation.plan import Block, Entry


@dataclass(frozen=True)
class BlockTimes:
    """Seconds that a block took.

    Attributes:
      compile_s: until the first step: initial parameters, tracing, compiling.
      wall_s: in all.
    """

    compile_s: float
    wall_s: float


@dataclass(frozen=True)
class Machine:
    """What blocks are computed on.

    Attributes:
      platform: JAX's name of it: "cpu", "gpu", ...
      device: kind of the first device.
      matmul_precision: JAX's setting.
    """

    platform: str
    device: str
    matmul_precision: str


@dataclass(frozen=True)
class Computed:
    """A block that ran to its end.

    Attributes:
      evaluation: float32 [seeds, members, points, splits, 2].
      training: float32 [seeds, members, steps + 1].
      times: what the block took.
      temp_bytes: of the compiled loop.
      state_bytes_per_parameter: of one optimizer state, parameters not counted.
      peak_memory_bytes: the most that the computing process had held by then.
    """

    evaluation: np.ndarray
    training: np.ndarray
    times: BlockTimes
    temp_bytes: int
    state_bytes_per_parameter: float
    peak_memory_bytes: int


@dataclass(frozen=True)
class Failed:
    """A block that raised, was stopped or died.

    Attributes:
      reason: why, in one line.
      step: the last training step at which its losses were known; None before the first.
      died: the computing process was killed or ended while it was at it.
    """

    reason: str
    step: int | None
    died: bool = False


def finished_cells(block: Block, machine: Machine, computed: Computed) -> list[Cell]:
    """The cells of a block that ran to its end."""
    from celo.evaluation.batches import EVAL_SPLITS
    from celo.evaluation.loop import point_steps

    xs = np.array(point_steps(block.schedule), np.int32)
    members = len(block.entry.members)
    runs = len(block.seeds) * members
    steps = block.schedule.steps
    times, evaluation, training = computed.times, computed.evaluation, computed.training
    cost = {
        "ms_per_step": (times.wall_s - times.compile_s) * 1e3 / (steps * runs),
        "wall_s": times.wall_s,
        "compile_s": times.compile_s,
        "temp_bytes": float(computed.temp_bytes),
        "peak_memory_bytes": float(computed.peak_memory_bytes),
        "state_bytes_per_parameter": computed.state_bytes_per_parameter,
    }
    provenance = _provenance(block, machine)
    cells = []
    for number, key in enumerate(block.keys(block.batching(machine.platform))):
        m, s = divmod(number, len(block.seeds))
        curves = {"eval/xs": xs, "train/xs": np.arange(steps + 1, dtype=np.int32)}
        for i, split in enumerate(EVAL_SPLITS):
            curves[f"eval/{split}/loss"] = evaluation[s, m, :, i, 0]
            curves[f"eval/{split}/loss_normalized"] = evaluation[s, m, :, i, 1]
        curves["train/loss"] = training[s, m]
        bad = np.flatnonzero(~np.isfinite(curves["eval/train/loss"]))
        diverged = not np.isfinite(curves["eval/train/loss"][-1])
        step = int(xs[bad[0]]) if diverged else None
        cells.append(
            Cell(
                key=key,
                status="diverged" if diverged else "done",
                curves=curves,
                hyperparameters=_grid_point(block.entry, m),
                reason=f"training loss is not finite from step {step}" if diverged else None,
                step=step,
                cost=cost,
                provenance=provenance,
            )
        )
    return cells


def failed_cells(block: Block, machine: Machine, failed: Failed) -> list[Cell]:
    """The cells of a block that failed: recorded, scored as worst and computed again next time."""
    provenance = _provenance(block, machine)
    seeds = len(block.seeds)
    return [
        Cell(
            key=key,
            status="failed",
            hyperparameters=_grid_point(block.entry, number // seeds),
            reason=failed.reason,
            step=failed.step,
            provenance=provenance,
        )
        for number, key in enumerate(block.keys(block.batching(machine.platform)))
    ]


def _grid_point(entry: Entry, member: int) -> dict[str, Any]:
    name = entry.tuned
    return {name: dict(entry.members[member].hyperparameters)[name]} if name else {}


def _provenance(block: Block, machine: Machine) -> dict[str, Any]:
    import importlib.metadata as metadata

    versions = {}
    for name in ("celo", "jax", "jaxlib", "dm-haiku", "optax", "numpy"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    entry, weights = block.entry, block.entry.weights
    return {
        "label": entry.label,
        "weights": None
        if weights is None
        else {"source": weights.source, "origin": weights.origin, "verified": weights.verified},
        "optimizer_plugin": vars(entry.found.origin),
        "task_plugin": vars(block.task.origin),
        "versions": versions,
        **vars(machine),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def peak_memory() -> int:
    """Largest resident size of this process so far, in bytes; 0 where it is not known."""
    try:
        import resource
        import sys
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
