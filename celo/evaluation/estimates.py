"""What an evaluation would take, before anything is compiled; imports no JAX.

A block that was computed before, for the same optimizer and task, tells by its recorded cost. Of
others a model of the arithmetic speaks, corrected by the recorded blocks of the same folder where
there are any. The model alone is rough: it knows a task by its record, not its network.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from celo import registry
from celo.errors import CeloError
from celo.evaluation.cells import Cell
from celo.evaluation.cost_model import model_seconds
from celo.evaluation.plan import Block, Plan
from celo.records import TaskPlugin

Source = Literal["recorded", "scaled", "model"]
"""From the cells of the same optimizer and task; the model corrected by other cells; the model."""

_PROCESS_BYTES = 400e6
# Of one optimizer's state, parameters not counted: two moments; the accumulators of a learned one.
_STATE_BYTES: Mapping[str, float] = {"hand-crafted": 8.0, "learned": 40.0}


@dataclass(frozen=True)
class Estimate:
    """What a block would take.

    Attributes:
      block: of the plan.
      cells: runs in it.
      present: all of them are on disk, so that nothing is to do.
      seconds: of computing, compiling included.
      seconds_from: where that is known from.
      memory_bytes: of the computing process.
      memory_from: likewise.
    """

    block: Block
    cells: int
    present: bool
    seconds: float
    seconds_from: Source
    memory_bytes: float
    memory_from: Source


def estimate(plan: Plan, cells: Iterable[Cell]) -> list[Estimate]:
    """What each block of this plan's shard would take.

    Args:
      plan: from `make_plan`.
      cells: of its run folder.
    """
    finished = [cell for cell in cells if cell.status != "failed"]
    there = {cell.key.digest for cell in finished}
    recorded: dict[tuple[str, str], list[Cell]] = {}
    for cell in finished:
        recorded.setdefault((cell.key.entry, cell.key.task), []).append(cell)
    by_place: dict[tuple[str, str], Block] = {}
    for block in plan.blocks:
        by_place.setdefault((block.entry.text, block.task.record.name), block)
    ratios = [
        _recorded_seconds(cells, by_place[place]) / _by_model(by_place[place])
        for place, cells in recorded.items()
        if place in by_place and _has(cells, "ms_per_step")
    ]
    factor = median(ratios) if ratios else None
    return [
        _estimate(
            block, there, recorded.get((block.entry.text, block.task.record.name), []), factor
        )
        for block in plan.own
    ]


def seconds_left(estimates: Iterable[Estimate], workers: int = 1) -> float:
    """Seconds to the end if every worker took the next block as fast as one that is alone."""
    lanes = [0.0] * workers
    for one in estimates:
        if not one.present:
            heapq.heapreplace(lanes, lanes[0] + one.seconds)
    return max(lanes)


def most_memory(estimates: Sequence[Estimate], workers: int = 1) -> float:
    """Bytes of the blocks to come that need most, as many as there are workers."""
    needs = sorted((one.memory_bytes for one in estimates if not one.present), reverse=True)
    return sum(needs[:workers])


def _estimate(
    block: Block, there: set[str], recorded: Sequence[Cell], factor: float | None
) -> Estimate:
    layouts = [block.keys(batching) for batching in block.layouts()]
    seconds, seconds_from = _by_model(block), "model"
    if _has(recorded, "ms_per_step"):
        seconds, seconds_from = _recorded_seconds(recorded, block), "recorded"
    elif factor is not None:
        seconds, seconds_from = factor * seconds, "scaled"
    known = _values(recorded, "peak_memory_bytes")
    return Estimate(
        block=block,
        cells=len(layouts[0]),
        present=any(all(key.digest in there for key in keys) for keys in layouts),
        seconds=seconds,
        seconds_from=seconds_from,
        # The most that the process had held by then, earlier blocks included: the least is nearest.
        memory_bytes=min(known) if known else _model_memory(block),
        memory_from="recorded" if known else "model",
    )


def _by_model(block: Block) -> float:
    runs = len(block.seeds) * len(block.entry.members)
    return model_seconds(block.task.record, block.entry.found.record, runs, block.schedule)


def _recorded_seconds(cells: Sequence[Cell], block: Block) -> float:
    runs = len(block.seeds) * len(block.entry.members)
    ms = median(_values(cells, "ms_per_step"))
    compiling = _values(cells, "compile_s")
    return ms / 1e3 * block.schedule.steps * runs + (median(compiling) if compiling else 0.0)


def _has(cells: Sequence[Cell], name: str) -> bool:
    return bool(_values(cells, name))


def _values(cells: Sequence[Cell], name: str) -> list[float]:
    return [float(cell.cost[name]) for cell in cells if cell.cost.get(name)]


def _model_memory(block: Block) -> float:
    """JAX itself, the data, and of every run: parameters, optimizer's state, gradient, update."""
    record, entry = block.task.record, block.entry
    runs = len(block.seeds) * len(entry.members)
    parameters = record.parameters * runs * (3 * 4.0 + _STATE_BYTES[entry.found.record.kind])
    return _PROCESS_BYTES + _data_bytes(record) + parameters


def _data_bytes(task: TaskPlugin) -> float:
    """Of the set as it lies on the device, a byte a pixel; 0 where the record does not say."""
    try:
        record = registry.data_set(task.data_set).record
    except CeloError:
        return 0.0
    if record.kind != "image":
        return 0.0
    return float((record.train_rows + record.test_rows) * math.prod(record.image_shape))
