"""What results cost and what produced them: what may differ where the results agree."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from celo.evaluation import statistics
from celo.evaluation.cells import Cell
from celo.evaluation.choosing import DEFAULT_METRICS, ChosenMetric
from celo.evaluation.scores import ScoreOptions
from celo.evaluation.selection import Picked, Runs


@dataclass(frozen=True)
class Cost:
    """What an optimizer cost on a task; None where it was not measured.

    Attributes:
      task: name.
      optimizer: entry.
      ms_per_step: wall time a step and run, evaluations included, shared by the runs of a block;
        median over the scored runs.
      state_bytes_per_parameter: likewise.
      peak_memory_bytes: the most the process had held when a scored run ended; the highest.
      wall_s: of all blocks together.
      compile_s: likewise.
      tuning_trials: hyperparameter settings tried.
    """

    task: str
    optimizer: str
    ms_per_step: float | None
    state_bytes_per_parameter: float | None
    peak_memory_bytes: float | None
    wall_s: float | None
    compile_s: float | None
    tuning_trials: int


def cost(task: str, entry: str, runs: Runs, scored: Mapping[int, Picked]) -> Cost:
    """The cost of one entry on one task."""
    costs = [run.cell.cost for run in scored.values()]
    # The figures of a block stand in each of its cells.
    blocks = {cell.key.block_seeds: cell.cost for cell in runs.cells.values()}.values()

    def values(costs: Iterable[Mapping[str, float]], name: str) -> list[float]:
        return [float(cost[name]) for cost in costs if cost.get(name) is not None]

    def median(name: str) -> float | None:
        found = values(costs, name)
        return float(np.median(found)) if found else None

    def total(name: str) -> float | None:
        found = values(blocks, name)
        return sum(found) if found else None

    return Cost(
        task=task,
        optimizer=entry,
        ms_per_step=median("ms_per_step"),
        state_bytes_per_parameter=median("state_bytes_per_parameter"),
        peak_memory_bytes=max(values(costs, "peak_memory_bytes"), default=None),
        wall_s=total("wall_s"),
        compile_s=total("compile_s"),
        tuning_trials=len(runs.points),
    )


def label(entry: str, cells: Iterable[Cell]) -> str:
    """How an entry is shown: `celo[bundled]`; what ran on untrained weights always says so."""
    own = (cell for cell in cells if cell.key.entry == entry)
    text = min((str(cell.provenance.get("label", entry)) for cell in own), default=entry)
    return entry if "@random" in entry and "random" not in text else text


def provenance(
    cells: Sequence[Cell],
    labels: Mapping[str, str],
    reference: str | None,
    options: ScoreOptions,
    reps: int,
    metrics: Sequence[ChosenMetric],
) -> dict[str, Any]:
    """What the results depend on and where they come from, as JSON values."""

    def of_entry(entry: str, text: str) -> dict[str, Any]:
        own = [cell for cell in cells if cell.key.entry == entry]
        return {
            "label": text,
            "weights": _distinct(cell.key.weights for cell in own),
            "weights_source": _distinct(cell.provenance.get("weights") for cell in own),
            "plugin": _distinct(cell.provenance.get("optimizer_plugin") for cell in own),
        }

    def of_task(task: str) -> dict[str, Any]:
        own = [cell for cell in cells if cell.key.task == task]
        plugin = _distinct(cell.provenance.get("task_plugin") for cell in own)
        return {**asdict(own[0].key.data), "plugin": plugin}

    surroundings = ("versions", "platform", "device", "matmul_precision")
    finished = sorted(str(c.provenance["finished"]) for c in cells if "finished" in c.provenance)
    return {
        "reference": reference,
        "scores": options.to_json(),
        **_of_metrics(metrics),
        "schedule": asdict(cells[0].key.schedule),
        "statistics": {
            "library": f"rliable {statistics.library_version()}",
            "interval": "95 % percentile bootstrap, stratified over seeds",
            "reps": reps,
            "seed": statistics.SEED,
        },
        "optimizers": {entry: of_entry(entry, text) for entry, text in labels.items()},
        "data": {task: of_task(task) for task in sorted({cell.key.task for cell in cells})},
        "environment": {
            name: _distinct(cell.provenance.get(name) for cell in cells) for name in surroundings
        },
        "finished": finished[:1] + finished[-1:],
    }


def _of_metrics(metrics: Sequence[ChosenMetric]) -> dict[str, Any]:
    """Where metrics come from and their constants; nothing for Celo's two scores alone."""
    if tuple(metric.name for metric in metrics) == DEFAULT_METRICS:
        return {}
    return {
        "metrics": {
            metric.name: {
                "options": {h.name: h.default for h in metric.record.options}
                | dict(metric.options),
                "plugin": asdict(metric.found.origin),
            }
            for metric in metrics
        }
    }


def _distinct(values: Iterable[Any]) -> Any:
    """The one value there is, or a list of all, in a fixed order."""
    found = {json.dumps(value, sort_keys=True, default=str): value for value in values}
    ordered = [found[text] for text in sorted(found)]
    return ordered[0] if len(ordered) == 1 else ordered
