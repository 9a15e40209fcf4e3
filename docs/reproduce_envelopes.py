"""Training losses of runs beside the published envelopes of tuned Adam; for `reproduce.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from celo.evaluation.cells import Cell
from celo.evaluation.selection import choose_runs, unique
from celo.evaluation.table import Table
from celo.metrics.velo import Envelope, build_envelope, published_envelopes

STEPS = (0, 200, 500, 1000, 2000, 5000, 10_000)
"""At which losses stand beside the published envelopes, as far as runs go; so do their ends."""


@dataclass(frozen=True)
class EnvelopeRow:
    """Losses on a task at one step: an optimizer's here, and Adam's as published."""

    task: str
    optimizer: str
    data: str
    step: int
    here: float
    adam_alone: float | None
    best_of_four: float


def envelope_rows(cells: Sequence[Cell], horizon: int, adam: str) -> list[EnvelopeRow]:
    """Losses beside the published envelopes, where a task has one.

    Args:
      cells: of runs with the same settings.
      horizon: their training steps, the last step that is shown.
      adam: name of the optimizer that stands there at earlier steps, too.
    """
    best, alone = published_envelopes(), published_envelopes("adam")
    runs, _ = choose_runs(unique(cells))
    rows = []
    places = sorted(runs.items(), key=lambda place: (place[0][1], not _named(place[0][0], adam)))
    for (entry, task), own in places:
        if task not in best:
            continue
        ours = _our_envelope(own.points, own.seeds, own.cells)
        if ours is None:
            continue
        some = next(iter(own.cells.values()))
        before = [step for step in STEPS if step < horizon and _named(entry, adam)]
        for step in (*before, horizon):
            rows.append(
                EnvelopeRow(
                    task=task,
                    optimizer=entry if len(own.points) == 1 else f"{entry}, tuned",
                    data=some.key.data.label,
                    step=step,
                    here=_at(ours, step),
                    adam_alone=_at(alone[task], step) if task in alone else None,
                    best_of_four=_at(best[task], step),
                )
            )
    return rows


def _named(entry: str, name: str) -> bool:
    return entry.partition(":")[0] == name


def _our_envelope(
    points: Sequence[str], seeds: Sequence[int], cells: Mapping[tuple[str, int], Cell]
) -> Envelope | None:
    curves, steps = [], None
    for point in points:
        by_seed = [cells[point, seed] for seed in seeds]
        if all(cell.status != "failed" for cell in by_seed):
            curves.append([cell.curves["eval/train/loss"] for cell in by_seed])
            steps = by_seed[0].curves["eval/xs"]
    if steps is None or len(steps) < 2:
        return None
    return build_envelope(np.array(curves), steps, points=len(steps))


def _at(envelope: Envelope, step: int) -> float:
    return float(np.interp(step, envelope.steps, envelope.loss))


def envelope_table(rows: Sequence[EnvelopeRow]) -> Table:
    """One line a row."""
    columns = ("task", "optimizer", "data", "step", "here", "Adam alone", "here / there", "of four")
    cells = [
        (
            row.task,
            row.optimizer,
            row.data,
            str(row.step),
            f"{row.here:.4g}",
            "-" if row.adam_alone is None else f"{row.adam_alone:.4g}",
            "-" if row.adam_alone is None else f"{row.here / row.adam_alone:.2f}",
            f"{row.best_of_four:.4g}",
        )
        for row in rows
    ]
    return Table("Training loss", columns, tuple(cells), (3, 4, 5, 6, 7))
