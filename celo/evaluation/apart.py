"""Results on real data and on anything else are never aggregated together.

A comparison of several kinds of data is one summary a kind, and one around them that has all rows
and no figure of its own.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from celo.evaluation.cells import Cell
from celo.evaluation.selection import check_comparable, unique

if TYPE_CHECKING:
    from celo.evaluation.summary import Summary

MIXED = "mixed"
"""`Summary.kind` of a comparison of several kinds of data."""
_ORDER = ("real", "substitute", "synthetic")

Summarize = Callable[..., "Summary"]


def by_kind(cells: Iterable[Cell]) -> dict[str, list[Cell]]:
    """The cells of every kind of data, real ones first; one group if a task has two kinds.

    Results of one task on different data must not stand in one table at all: that is for
    `celo.evaluation.selection.check_comparable` to refuse.
    """
    groups: dict[str, list[Cell]] = {}
    kinds: dict[str, set[str]] = {}
    for cell in cells:
        kind = cell.key.data.comparable
        groups.setdefault(kind, []).append(cell)
        kinds.setdefault(cell.key.task, set()).add(kind)
    if any(len(found) > 1 for found in kinds.values()):
        return {MIXED: [cell for group in groups.values() for cell in group]}
    return {kind: groups[kind] for kind in sorted(groups, key=_place)}


def _place(kind: str) -> tuple[int, str]:
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER), kind


def each_kind_apart(summarize: Summarize) -> Summarize:
    """Makes a function that summarizes cells of one kind of data treat every kind on its own."""

    @functools.wraps(summarize)
    def wrapper(cells: Iterable[Cell], **options: Any) -> Summary:
        cells = list(cells)
        tasks: Sequence[str] = tuple(options.get("tasks", ()))
        groups = by_kind(cell for cell in cells if not tasks or cell.key.task in tasks)
        if len(groups) < 2:
            return _tagged(summarize(cells, **options))
        own = {kind: {cell.key.task for cell in group} for kind, group in groups.items()}
        check_comparable(unique(cell for group in groups.values() for cell in group))
        first = next(iter(groups))
        # What was asked for and has no result is missing once: where the real data are, if any.
        own[first] |= set(tasks) - set().union(*own.values())
        parts = [
            summarize(group, **{**options, "tasks": _chosen(tasks, own[kind])})
            for kind, group in groups.items()
        ]
        return _around([_tagged(part) for part in parts])

    return wrapper


def _chosen(tasks: Sequence[str], own: set[str]) -> tuple[str, ...]:
    return tuple(task for task in tasks if task in own) or tuple(sorted(own))


def _tagged(summary: Summary) -> Summary:
    rows = tuple(replace(row, data=summary.kind) for row in summary.aggregate)
    return replace(summary, aggregate=rows)


def _around(parts: Sequence[Summary]) -> Summary:
    """All rows of the parts, one after the other."""
    merged = {f.name: _merged([getattr(p, f.name) for p in parts]) for f in fields(parts[0])}
    hashes = " ".join(part.run for part in parts)
    times = [time for part in parts for time in part.provenance["finished"]]
    return replace(
        parts[0],
        **{
            **merged,
            "run": hashlib.sha256(hashes.encode()).hexdigest()[:16],
            "complete": all(part.complete for part in parts),
            "kind": MIXED,
            "provenance": {**merged["provenance"], "finished": _ends(times)},
            "parts": tuple(parts),
        },
    )


def _ends(times: Iterable[str]) -> list[str]:
    ordered = sorted(times)
    return ordered[:1] + ordered[-1:]


def _merged(values: Sequence[Any]) -> Any:
    """One value where all agree; sequences one after the other, mappings key by key."""
    first = values[0]
    if all(value == first for value in values):
        return first
    if all(isinstance(value, tuple) for value in values):
        rows: list[Any] = []
        for value in values:
            rows.extend(row for row in value if row not in rows)
        return tuple(rows)
    if all(isinstance(value, Mapping) for value in values):
        keys = dict.fromkeys(key for value in values for key in value)
        return {key: _merged([value[key] for value in values if key in value]) for key in keys}
    return list(values)
