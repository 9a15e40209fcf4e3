"""The unit of evaluation: one optimizer, one task, one seed.

A `CellKey` says everything that a cell's numbers depend on; its digest names the cell's file. Cells
are computed in blocks (the requested seeds of one aligned triple, a tuning grid whole), and how
a block was laid out is part of the key, because it can move the last bits. Standard library and
numpy only: reading results imports neither JAX nor pandas.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from celo.records import Batching

SCHEMA = 1
"""Version of the cell files."""

Status = Literal["done", "diverged", "failed"]


@dataclass(frozen=True)
class Schedule:
    """How long a run trains and when it is evaluated.

    Attributes:
      steps: number of training steps (the horizon).
      eval_every: training steps between evaluations; the last step is always evaluated.
      eval_batches: batches averaged per split at an evaluation.
      last_eval_batches: the same at the last one.
    """

    steps: int
    eval_every: int = 10
    eval_batches: int = 5
    last_eval_batches: int = 10


@dataclass(frozen=True)
class DataIdentity:
    """Which data a cell saw.

    Attributes:
      name: of the data set.
      kind: "real", "partial", "synthetic" or "substitute".
      label: how it is shown, such as "partial (20000 of 50000 train rows)".
      fingerprint: sha256 of the decoded arrays.
      published_splits: the splits of the published code instead of 80/10/10.
    """

    name: str
    kind: str
    label: str
    fingerprint: str
    published_splits: bool = False

    @property
    def comparable(self) -> str:
        """Results are aggregated only where this agrees: "real", "synthetic" or "substitute"."""
        return "real" if self.kind in ("real", "partial") else self.kind


@dataclass(frozen=True)
class CellKey:
    """The identity of a cell.

    Attributes:
      optimizer: canonical text of what ran, hyperparameters included (`adam:lr=0.001`).
      entry: canonical text of what was asked for (`adam`, tuned); equal to `optimizer` unless a
        grid ran.
      weights: content hash of the weights, or None for hand-crafted optimizers.
      task: name of the task.
      data: what it was trained on.
      seed: of the run.
      schedule: length and evaluation.
      block_seeds: seeds computed together.
      grid: texts of all members of the tuning grid computed together, () without one.
      batching: whether the block was one vmapped axis or one run after the other.
      numerics: versions of (training loop, task, optimizer plugin).
      distribution: of the optimizer: two packages may call different things by one name.
    """

    optimizer: str
    entry: str
    weights: str | None
    task: str
    data: DataIdentity
    seed: int
    schedule: Schedule
    block_seeds: tuple[int, ...]
    grid: tuple[str, ...]
    batching: Batching
    numerics: tuple[int, int, int]
    distribution: str = "celo"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> CellKey:
        """Inverse of `to_json`; raises KeyError or TypeError for anything else."""
        fields = dict(value)
        fields["data"] = DataIdentity(**fields["data"])
        fields["schedule"] = Schedule(**fields["schedule"])
        for name in ("block_seeds", "grid", "numerics"):
            fields[name] = tuple(fields[name])
        return CellKey(**fields)

    @property
    def digest(self) -> str:
        """Hex sha256 over the whole key, labels aside."""
        identity = self.to_json()
        del identity["data"]["label"]
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Cell:
    """A finished cell.

    Attributes:
      key: its identity.
      status: "done"; "diverged" (the last evaluated training loss is not finite); "failed" (the
        run raised).
      curves: name -> float array: `eval/xs` [K], `eval/{split}/loss` [K],
        `eval/{split}/loss_normalized` [K] for train, outer_valid and test, `train/xs` and
        `train/loss` [steps + 1] (before each update). Empty for failed cells.
      hyperparameters: what the grid point set, such as {"lr": 0.001}; {} without a grid.
      reason: why it failed or when it diverged, or None.
      step: where it failed or diverged (first evaluated step with a non-finite loss), or None.
      cost: figures that differ from time to time: `ms_per_step`, the block's wall time after
        compilation, evaluations included, divided by its steps and by the runs that shared it;
        `wall_s` and `compile_s` of the block; `temp_bytes` of the compiled loop;
        `peak_memory_bytes`, the most this process had held by then; and the reproducible
        `state_bytes_per_parameter` (parameters not counted).
      provenance: versions, platform, weights' source, plugin's distribution, when.
    """

    key: CellKey
    status: Status
    curves: Mapping[str, np.ndarray] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None
    step: int | None = None
    cost: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
