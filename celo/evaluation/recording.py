"""What a block's arrays become on disk: cells with status, cost and provenance."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from celo.evaluation.cells import Cell
from celo.evaluation.plan import Block, Entry
from celo.records import Batching

if TYPE_CHECKING:
    from celo.evaluation.loop import Program


@dataclass(frozen=True)
class BlockTimes:
    """Seconds that a block took.

    Attributes:
      compile_s: until the first step: initial parameters, tracing, compiling.
      wall_s: in all.
    """

    compile_s: float
    wall_s: float


def finished_cells(
    block: Block,
    batching: Batching,
    platform: str,
    program: Program,
    evaluation: np.ndarray,
    training: np.ndarray,
    times: BlockTimes,
) -> list[Cell]:
    """The cells of a block that ran to its end.

    Args:
      block: what ran.
      batching: how it was laid out.
      platform: JAX's name of it.
      program: what was compiled.
      evaluation: float32 [seeds, members, points, splits, 2].
      training: float32 [seeds, members, steps + 1].
      times: what the block took.
    """
    from celo.evaluation.batches import EVAL_SPLITS
    from celo.evaluation.loop import point_steps

    xs = np.array(point_steps(block.schedule), np.int32)
    members = len(block.entry.members)
    runs = len(block.seeds) * members
    steps = block.schedule.steps
    cost = {
        "ms_per_step": (times.wall_s - times.compile_s) * 1e3 / (steps * runs),
        "wall_s": times.wall_s,
        "compile_s": times.compile_s,
        "temp_bytes": float(program.temp_bytes),
        "peak_memory_bytes": float(_peak_memory()),
        "state_bytes_per_parameter": program.state_bytes_per_parameter,
    }
    provenance = _provenance(block, platform)
    cells = []
    for number, key in enumerate(block.keys(batching)):
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


def failed_cells(block: Block, platform: str, reason: str) -> list[Cell]:
    """The cells of a block that raised: recorded, scored as worst and computed again next time."""
    provenance = _provenance(block, platform)
    seeds = len(block.seeds)
    return [
        Cell(
            key=key,
            status="failed",
            hyperparameters=_grid_point(block.entry, number // seeds),
            reason=reason,
            provenance=provenance,
        )
        for number, key in enumerate(block.keys(block.batching(platform)))
    ]


def _grid_point(entry: Entry, member: int) -> dict[str, Any]:
    name = entry.tuned
    return {name: dict(entry.members[member].hyperparameters)[name]} if name else {}


def _provenance(block: Block, platform: str) -> dict[str, Any]:
    import importlib.metadata as metadata

    import jax

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
        "platform": platform,
        "device": jax.devices()[0].device_kind,
        "matmul_precision": str(
            getattr(jax.config, "jax_default_matmul_precision", None) or "platform default"
        ),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _peak_memory() -> int:
    """Largest resident size of this process so far, in bytes; 0 where it is not known."""
    try:
        import resource
        import sys
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
