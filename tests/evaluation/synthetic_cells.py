"""Cells with curves of known shape, for tests of what comes after training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from celo.evaluation.cells import Cell, CellKey, DataIdentity, Schedule

SCHEDULE = Schedule(steps=100)
XS = np.arange(0, 101, 10)
GRID = (0.001, 0.01, 0.1)


def curve(final: float, *, reach: int = 100) -> np.ndarray:
    """Falls from 10 to `final` in a straight line until step `reach`, then stays."""
    return np.maximum(10.0 - (10.0 - final) * XS / reach, final)


def cell(
    entry: str,
    task: str,
    seed: int,
    y: np.ndarray | float | None,
    *,
    optimizer: str | None = None,
    grid: tuple[str, ...] = (),
    block: tuple[int, ...] | None = None,
    hyperparameters: dict[str, Any] | None = None,
    data: DataIdentity | None = None,
    weights: str | None = None,
    schedule: Schedule = SCHEDULE,
    numerics: tuple[int, int, int] = (1, 1, 1),
    batching: Any = "vmap",
    **fields: Any,
) -> Cell:
    """One cell; `y` is the training curve, its final value, or None for a failed run."""
    values = curve(y) if isinstance(y, float) else y
    first = seed // 3 * 3
    key = CellKey(
        optimizer=optimizer or entry,
        entry=entry,
        weights=weights,
        task=task,
        data=data or DataIdentity(f"data of {task}", "real", "real", "f" * 64),
        seed=seed,
        schedule=schedule,
        block_seeds=block or (first, first + 1, first + 2),
        grid=grid,
        batching=batching,
        numerics=numerics,
    )
    if values is None:
        return Cell(key, "failed", reason="out of memory", **fields)
    diverged = not np.isfinite(values[-1])
    curves = {"eval/xs": XS, "eval/train/loss": values, "eval/test/loss": values + 1.0}
    return Cell(
        key,
        "diverged" if diverged else "done",
        curves,
        hyperparameters or {},
        **{"cost": {"ms_per_step": 2.0, "wall_s": 5.0, "state_bytes_per_parameter": 8.0}, **fields},
    )


def block(entry: str, task: str, finals: Sequence[Any], **fields: Any) -> list[Cell]:
    """One cell per seed 0, 1, ...; a block of these seeds."""
    seeds = tuple(range(len(finals)))
    return [
        cell(entry, task, s, y, **{"block": seeds, **fields})
        for s, y in zip(seeds, finals, strict=True)
    ]


def tuned(
    entry: str,
    task: str,
    finals: Sequence[Sequence[Any]],
    grid: Sequence[float] = GRID,
    **fields: Any,
) -> list[Cell]:
    """A tuning grid: `finals[point][seed]`."""
    texts = tuple(f"{entry}:lr={value:g}" for value in grid)
    return [
        made
        for text, value, row in zip(texts, grid, finals, strict=True)
        for made in block(
            entry, task, row, optimizer=text, grid=texts, hyperparameters={"lr": value}, **fields
        )
    ]
