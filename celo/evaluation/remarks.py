"""What a reader of a comparison must know, one sentence each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from celo.evaluation.cells import CellKey
from celo.evaluation.published import CERTAINTY, Published
from celo.evaluation.selection import Picked, Place, Runs
from celo.evaluation.statistics import MIN_SEEDS, Matrix

Scored = Mapping[Place, Mapping[int, Picked]]
"""(entry, task) -> seed -> the run that is scored."""
Expected = Mapping[Place, Sequence[int]]
"""(entry, task) -> seeds that were asked for."""


def missing(
    scored: Scored,
    entries: Sequence[str],
    tasks: Sequence[str],
    expected: Expected,
    unfinished: Mapping[Place, int],
) -> list[str]:
    """What was asked for and is not there; [] for a complete comparison."""
    remarks = []
    for entry in entries:
        wanted = [task for task in tasks if (entry, task) in expected]
        absent = [task for task in wanted if (entry, task) not in scored]
        if absent:
            begun = sum(unfinished.get((entry, task), 0) for task in absent)
            remarks.append(
                f"incomplete: {entry} lacks {len(absent)} of {len(wanted)} tasks "
                f"({', '.join(absent[:3])}{', ...' if len(absent) > 3 else ''})"
                + (f"; {begun} cells of unfinished blocks are left out" if begun else "")
            )
        here = [(entry, task) for task in wanted if (entry, task) in scored]
        short = sum(not {*expected[place]} <= {*scored[place]} for place in here)
        if short:
            remarks.append(f"incomplete: {entry} lacks seeds on {short} of {len(wanted)} tasks")
    return remarks


def failures(runs: Mapping[Place, Runs], entries: Sequence[str], tasks: Sequence[str]) -> list[str]:
    """Why runs failed, one line for each optimizer and task."""
    remarks = []
    for task in tasks:
        for entry in entries:
            cells = runs[entry, task].cells.values() if (entry, task) in runs else ()
            reasons = dict.fromkeys(c.reason or "" for c in cells if c.status == "failed")
            remarks += [f"{entry} failed on {task}: {reason}" for reason in reasons]
    return remarks


def conflicts(keys: Sequence[CellKey]) -> list[str]:
    """Results that the runs disagree about, one line for each optimizer and task."""
    seeds: dict[Place, set[int]] = {}
    for key in keys:
        seeds.setdefault((key.entry, key.task), set()).add(key.seed)
    return [
        f"conflicting: the runs hold different curves of {entry} on {task} (seed "
        f"{', '.join(map(str, sorted(own)))}), as other machines or numbers of threads make them; "
        "the same ones are shown whatever the order of the runs"
        for (entry, task), own in sorted(seeds.items())
    ]


def mixed_numerics(runs: Mapping[Place, Runs]) -> list[str]:
    """Tasks on which optimizers ran with different versions of the loop or of the task."""
    versions: dict[str, dict[str, tuple[int, int]]] = {}
    for (entry, task), those in runs.items():
        loop, of_task, _ = next(iter(those.cells.values())).key.numerics
        versions.setdefault(task, {})[entry] = (loop, of_task)
    remarks = []
    for task, by_entry in sorted(versions.items()):
        newest = max(by_entry.values())
        older = sorted(entry for entry, version in by_entry.items() if version != newest)
        if older:
            remarks.append(
                f"{task}: {', '.join(older)} ran with older numerics than the others; "
                "repeat `celo eval` for a fair comparison"
            )
    return remarks


def about_reference(reference: str | None, scored: Scored, tasks: Sequence[str]) -> list[str]:
    """Where the reference is missing or lost."""
    if reference is None:
        return []
    anchors = {task: scored[reference, task] for task in tasks if (reference, task) in scored}
    if not anchors:
        return [f"no results of the reference {reference}: there are no scores"]
    remarks = []
    if len(anchors) < len(tasks):
        remarks.append(
            f"no results of the reference {reference} on {len(tasks) - len(anchors)} of "
            f"{len(tasks)} tasks: no scores there"
        )
    for task, by_seed in anchors.items():
        lost = [str(s) for s, run in by_seed.items() if not math.isfinite(run.curve.final_loss)]
        if lost:
            remarks.append(
                f"{task}: the reference {reference} has no finite final loss (seed "
                f"{', '.join(lost)}), so all scores there are 0"
            )
    return remarks


def about_matrix(entry: str, matrix: Matrix) -> list[str]:
    """What the aggregates of an entry leave out, and whether their intervals mean much."""
    remarks = []
    if matrix.left_out:
        kept = ", ".join(map(str, matrix.seeds))
        remarks.append(
            f"{entry}: the aggregates cover the seeds that all its tasks have ({kept}); "
            f"{len(matrix.left_out)} other runs are left out"
        )
    if len(matrix.seeds) < MIN_SEEDS:
        remarks.append(f"{entry}: fewer than {MIN_SEEDS} seeds, so its intervals are too narrow")
    return remarks


def about_published(published: Sequence[Published], steps: int, kinds: Sequence[str]) -> list[str]:
    """What the marks of published figures mean, and how far ours are from the same quantity.

    Args:
      published: figures that are shown.
      steps: of our runs.
      kinds: of the data of our tasks, one each.
    """
    if not published:
        return []
    real = sum(kind == "real" for kind in kinds)
    marks = "; ".join(f"{mark}: {words}" for mark, words in CERTAINTY.items())
    return [
        f"published figures are others', on their data and machines; how sure each is: {marks}",
        f"published scores of Celo are of 17 tasks at 2000 steps; here: {len(kinds)} tasks, {real} "
        f"of them on all of the real data, at {steps} steps",
    ]
