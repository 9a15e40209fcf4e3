"""Which cells count: the rules by which overlapping results become one run per seed.

The rules depend neither on the order in which cells were finished nor on where they lie. Results
that must not stand in one table are refused.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np

from celo.errors import UsageError
from celo.evaluation.cells import Cell, CellKey
from celo.evaluation.scores import LOST, Curve, ScoreOptions, judge, select

TRIPLE = 3
"""Seeds are computed together within aligned triples: 0-2, 3-5, ..."""

Place = tuple[str, str]
"""(entry, task)."""


@dataclass(frozen=True)
class Runs:
    """The runs of one entry on one task that count.

    Attributes:
      points: texts of the tuning grid, or the entry alone.
      seeds: increasing.
      cells: by (point, seed), all of them.
    """

    points: tuple[str, ...]
    seeds: tuple[int, ...]
    cells: Mapping[tuple[str, int], Cell]


@dataclass(frozen=True)
class Picked:
    """The run of one seed that is scored: of a tuned optimizer, the selected grid point's."""

    cell: Cell
    curve: Curve


def unique(cells: Iterable[Cell]) -> list[Cell]:
    """Each cell once, sorted by digest.

    Of several results of one key (merged runs) one that did not fail is kept, and of those the one
    whose curves hash lowest, so that the order of the runs does not matter.
    """
    same: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        same[cell.key.digest].append(cell)
    return [
        group[0] if len(group) == 1 else min(group, key=lambda c: (c.status == "failed", _hash(c)))
        for _, group in sorted(same.items())
    ]


def conflicting(cells: Iterable[Cell]) -> list[CellKey]:
    """Keys, sorted by digest, of which there are finished results with different curves."""
    hashes: dict[str, set[str]] = defaultdict(set)
    keys = {}
    for cell in cells:
        if cell.status != "failed":
            hashes[cell.key.digest].add(_hash(cell))
            keys[cell.key.digest] = cell.key
    return [keys[digest] for digest, found in sorted(hashes.items()) if len(found) > 1]


def run_hash(cell: Cell) -> str:
    """What comparable cells have in common, as 16 hex digits; no path, time or optimizer."""
    identity = {
        "schedule": asdict(cell.key.schedule),
        "published_splits": cell.key.data.published_splits,
        "data": cell.key.data.comparable,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def check_comparable(cells: Iterable[Cell]) -> None:
    """Refuses cells that must not stand in one table.

    Args:
      cells: in an order that does not depend on when they were finished (`unique`).

    Raises:
      UsageError: names the two values that differ.
    """
    seen: dict[tuple[str, str], tuple[object, str]] = {}
    apart = "report them separately"
    for key in (cell.key for cell in cells):
        schedule, data = key.schedule, key.data
        plan = (
            f"every {schedule.eval_every} steps, {schedule.eval_batches} batches "
            f"({schedule.last_eval_batches} at the end)"
        )
        splits = "published splits" if data.published_splits else "80/10/10 splits"
        facts = [
            ("horizons", "", schedule.steps, f"{schedule.steps} steps", apart),
            ("evaluation schedules", "", schedule, plan, apart),
            ("kinds of data", key.task, data.comparable, f"{data.comparable} data", apart),
            ("data splits", "", data.published_splits, splits, apart),
            (
                "data",
                key.task,
                data.fingerprint,
                f"{data.name}, {data.label}, sha256 {data.fingerprint[:16]}",
                apart,
            ),
        ]
        if key.weights is not None:
            hint = f"{apart}, or name the weights (NAME@WEIGHTS) so that both can be shown"
            facts.append(("weights", key.entry, key.weights, f"sha256 {key.weights}", hint))
        for what, where, value, text, hint in facts:
            before, before_text = seen.setdefault((what, where), (value, text))
            if before != value:
                place = f" for {where}" if where else ""
                raise UsageError(
                    f"results of different {what}{place} cannot be compared: "
                    f"{' and '.join(sorted((before_text, text)))}",
                    hint=hint,
                )


def choose_runs(cells: Iterable[Cell]) -> tuple[dict[Place, Runs], dict[Place, int]]:
    """The runs that count for each entry and task.

    A block counts if all its cells are there. Per entry and task, the highest numerics versions
    count, and of those the tuning grid with the most seeds; ties go to the larger grid, then to the
    first in alphabetical order. Per aligned triple of seeds, the block with the most seeds
    counts, failed ones last; ties go to the smaller seeds, then to "map" before "vmap".

    Args:
      cells: each once (`unique`).

    Returns:
      the runs, and the number of cells of unfinished blocks where no finished block exists.
    """
    blocks: dict[tuple, dict[tuple[str, int], Cell]] = defaultdict(dict)
    for cell in cells:
        key = cell.key
        block = (key.entry, key.task, key.numerics, key.grid, key.block_seeds, key.batching)
        blocks[block][key.optimizer, key.seed] = cell
    finished: dict[Place, dict[tuple, dict[int, list]]] = defaultdict(dict)
    unfinished: dict[Place, int] = defaultdict(int)
    for block in sorted(blocks):
        entry, task, numerics, grid, seeds, _ = block
        points = grid or (entry,)
        if any((point, seed) not in blocks[block] for point in points for seed in seeds):
            unfinished[entry, task] += len(blocks[block])
            continue
        triples = finished[entry, task].setdefault((numerics, points), defaultdict(list))
        triples[min(seeds) // TRIPLE].append((seeds, blocks[block]))
    chosen = {place: _best(candidates) for place, candidates in finished.items()}
    return chosen, {place: n for place, n in unfinished.items() if place not in chosen}


def tuned(runs: Runs, options: ScoreOptions) -> dict[int, Picked]:
    """The run of every seed that is scored, after tuning where there is a grid."""
    curves = {place: _curve(cell, options) for place, cell in runs.cells.items()}
    losses = np.array([[curves[p, s].final_loss for s in runs.seeds] for p in runs.points])
    places = [
        (runs.points[point], seed)
        for point, seed in zip(select(losses, options.selection), runs.seeds, strict=True)
    ]
    return {place[1]: Picked(runs.cells[place], curves[place]) for place in places}


def _best(candidates: Mapping[tuple, Mapping[int, list]]) -> Runs:
    newest = max(numerics for numerics, _ in candidates)
    merged: list[Runs] = []
    for (numerics, points), triples in candidates.items():
        if numerics != newest:
            continue
        cells: dict[tuple[str, int], Cell] = {}
        for blocks in triples.values():
            # The blocks come sorted and max is stable: the first of those with most seeds. A
            # failed block never hides a finished one.
            cells.update(max(blocks, key=lambda block: (not _failed(block[1]), len(block[0])))[1])
        merged.append(Runs(points, tuple(sorted({seed for _, seed in cells})), cells))
    return min(merged, key=lambda runs: (-len(runs.seeds), -len(runs.points), runs.points))


def _failed(cells: Mapping[tuple[str, int], Cell]) -> bool:
    return any(cell.status == "failed" for cell in cells.values())


def _curve(cell: Cell, options: ScoreOptions) -> Curve:
    if cell.status == "failed":
        return LOST
    name = f"eval/{options.split}/loss"
    if name not in cell.curves:
        raise UsageError(
            f"{cell.key.entry} on {cell.key.task} has no losses of the split {options.split!r}",
            hint="choose another split",
        )
    diverged = cell.status == "diverged"
    return judge(cell.curves["eval/xs"], cell.curves[name], options, diverged=diverged)


def _hash(cell: Cell) -> str:
    digest = hashlib.sha256()
    for name in sorted(cell.curves):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(cell.curves[name]).tobytes())
    return digest.hexdigest()
