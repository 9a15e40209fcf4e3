"""Curves as the page and the figures draw them: panels of lines.

Nothing here knows where a curve comes from except `learning_curves`; other curves (of a
meta-training run, say) become panels in the same way and are drawn by the same code.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from celo.evaluation.cells import Cell
from celo.evaluation.selection import choose_runs, tuned, unique
from celo.evaluation.summary import Summary
from celo.evaluation.tables import data_label

MAX_POINTS = 400_000
"""Points of all curves together on one page; beyond, every n-th evaluation is drawn."""
_MISSING, _INFINITE, _CODES = 65535, 65534, 65533


@dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
      name: key of what it belongs to: of an evaluation, the optimizer's entry.
      member: which of several under one name: the seed.
      xs: float64 [K], increasing.
      ys: float64 [K]; not finite where the run had diverged.
      status: "done", "diverged" or "failed".
      ended: x at which it failed or diverged, or None.
      reason: why, or None.
    """

    name: str
    member: int
    xs: np.ndarray
    ys: np.ndarray
    status: str = "done"
    ended: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Panel:
    """What is drawn in one pair of axes.

    Attributes:
      title: of a learning curve: the task.
      subtitle: what must not be overlooked: which data.
      x: label of the x axis.
      y: label of the y axis.
      lines: in drawing order.
      stride: every how many-th point is there; 1 for all.
    """

    title: str
    subtitle: str
    x: str
    y: str
    lines: tuple[Line, ...]
    stride: int = 1


def learning_curves(summary: Summary, cells: Iterable[Cell]) -> tuple[Panel, ...]:
    """One panel a task: the unsmoothed losses of the runs that are scored.

    Args:
      summary: the comparison.
      cells: those it was made of, in any order.
    """
    runs, _ = choose_runs(unique(cells))
    split = summary.options.split
    statuses = {(r.task, r.optimizer, r.seed): r.status for r in summary.tasks}
    panels = []
    for task, data in summary.data.items():
        lines = []
        for entry in summary.labels:
            if (entry, task) not in runs:
                continue
            for seed, picked in tuned(runs[entry, task], summary.options).items():
                cell = picked.cell
                lines.append(
                    Line(
                        name=entry,
                        member=seed,
                        xs=np.asarray(cell.curves.get("eval/xs", ()), np.float64),
                        ys=np.asarray(cell.curves.get(f"eval/{split}/loss", ()), np.float64),
                        status=statuses.get((task, entry, seed), cell.status),
                        ended=_ended(cell, split),
                        reason=cell.reason,
                    )
                )
        panels.append(Panel(task, data_label(data), "step", f"{split} loss", tuple(lines)))
    return tuple(panels)


def thin(panels: Sequence[Panel], most: int = MAX_POINTS) -> tuple[Panel, ...]:
    """Every n-th point of every line, the last one always, so that all fit.

    Points are left out, never averaged or moved: what is drawn was measured.
    """
    points = sum(line.xs.size for panel in panels for line in panel.lines)
    stride = max(1, math.ceil(points / most))
    if stride == 1:
        return tuple(panels)

    def of(line: Line) -> Line:
        size = line.xs.size
        kept = sorted({*range(0, size, stride), size - 1}) if size else []
        return replace(line, xs=line.xs[kept], ys=line.ys[kept])

    return tuple(
        replace(panel, lines=tuple(map(of, panel.lines)), stride=stride) for panel in panels
    )


def points(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """Panels as JSON values, every number whole."""
    return [
        {
            "title": panel.title,
            "subtitle": panel.subtitle,
            "x": panel.x,
            "y": panel.y,
            "lines": [
                {
                    "name": line.name,
                    "member": line.member,
                    "status": line.status,
                    "xs": line.xs.tolist(),
                    "ys": line.ys.tolist(),
                }
                for line in panel.lines
            ],
        }
        for panel in panels
    ]


def encode(panel: Panel, names: Sequence[str]) -> dict[str, Any]:
    """A panel as small JSON values: losses as base64 of little-endian uint16.

    A code q stands for unit * sinh(low + q * step): logarithmic for losses of either sign, so that
    the relative error is the same for large and small ones (0.03 % at most over ten decades).
    65534 is infinity, 65535 is NaN. Lines on the panel's common xs carry none of their own.

    Args:
      panel: to encode.
      names: of all lines; a line carries the index of its own.
    """
    finite = np.concatenate([line.ys[np.isfinite(line.ys)] for line in panel.lines] or [[]])
    sizes = np.abs(finite[finite != 0.0])
    unit = float(sizes.min()) if sizes.size else 1.0
    scaled = np.arcsinh(finite / unit)
    low, high = (float(scaled.min()), float(scaled.max())) if scaled.size else (0.0, 0.0)
    step = (high - low) / (_CODES - 1) or 1.0
    common = max((line.xs for line in panel.lines), key=len, default=np.zeros(0))

    def codes(ys: np.ndarray) -> str:
        with np.errstate(invalid="ignore"):
            steps = np.rint((np.arcsinh(ys / unit) - low) / step)
        found = np.where(np.isnan(ys), _MISSING, np.where(np.isfinite(ys), steps, _INFINITE))
        return base64.b64encode(found.astype("<u2").tobytes()).decode("ascii")

    return {
        "title": panel.title,
        "subtitle": panel.subtitle,
        "x": panel.x,
        "y": panel.y,
        "stride": panel.stride,
        "unit": unit,
        "low": low,
        "step": step,
        "xs": common.tolist(),
        "lines": [
            {
                "name": names.index(line.name),
                "member": line.member,
                "status": line.status,
                "ended": line.ended,
                "ys": codes(line.ys),
                **({} if np.array_equal(line.xs, common) else {"xs": line.xs.tolist()}),
            }
            for line in panel.lines
        ],
    }


def _ended(cell: Cell, split: str) -> float | None:
    """The step at which a run failed or its losses stopped being finite."""
    if cell.step is not None:
        return float(cell.step)
    losses = np.asarray(cell.curves.get(f"eval/{split}/loss", ()), np.float64)
    if losses.size and not math.isfinite(losses[-1]):
        lost = np.flatnonzero(np.isfinite(losses))
        first = lost[-1] + 1 if lost.size else 0
        return float(cell.curves["eval/xs"][first])
    return None
