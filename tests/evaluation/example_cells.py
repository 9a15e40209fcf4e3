"""Cells made by hand, for tests of what is done with results."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from celo.evaluation.cells import Cell, CellKey, DataIdentity, Schedule

DATA = DataIdentity("digits", "real", "real", "f" * 64)
KEY = CellKey(
    optimizer="adam:lr=0.001",
    entry="adam",
    weights=None,
    task="Digits_MLP_32",
    data=DATA,
    seed=0,
    schedule=Schedule(steps=20),
    block_seeds=(0, 1, 2),
    grid=("adam:lr=0.001", "adam:lr=0.003"),
    batching="vmap",
    numerics=(1, 1, 1),
)


def key(**changes: Any) -> CellKey:
    return replace(KEY, **changes)


def cell(loss: float = 0.5, cell_key: CellKey = KEY, **changes: Any) -> Cell:
    steps = cell_key.schedule.steps
    points = np.arange(0, steps + 1, 10)
    curve = np.linspace(2.3, loss, len(points), dtype=np.float32)
    curves = {"eval/xs": points.astype(np.int32), "train/xs": np.arange(steps + 1, dtype=np.int32)}
    for split in ("train", "outer_valid", "test"):
        curves[f"eval/{split}/loss"] = curve
        curves[f"eval/{split}/loss_normalized"] = curve
    curves["train/loss"] = np.linspace(2.3, loss, steps + 1, dtype=np.float32)
    fields: dict[str, Any] = {
        "key": cell_key,
        "status": "done",
        "curves": curves,
        "cost": {"ms_per_step": 1.5},
        "provenance": {"label": cell_key.entry},
    }
    return Cell(**{**fields, **changes})
