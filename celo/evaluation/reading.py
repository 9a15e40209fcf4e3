"""Reads finished runs for reports and comparisons; imports neither JAX nor pandas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from celo.errors import StoreError
from celo.evaluation.cells import Cell
from celo.evaluation.store import STATISTICS_NOTE, Run


def open_runs(paths: Iterable[Path]) -> tuple[list[Run], list[Cell], list[str]]:
    """Opens run folders and reads all they hold.

    Args:
      paths: of run folders; repetitions are dropped.

    Returns:
      the runs, their cells, and one sentence for each file that cannot be read.

    Raises:
      StoreError: one is no run, or together they hold no finished results.
    """
    runs = [Run.open(path) for path in dict.fromkeys(paths)]
    cells: list[Cell] = []
    damaged: list[str] = []
    for run in runs:
        found, broken = run.cells()
        cells.extend(found)
        damaged.extend(f"{file.path.name} is damaged ({file.reason})" for file in broken)
    if not cells:
        names = ", ".join(str(run.path) for run in runs)
        raise StoreError(
            f"{names} holds no finished results"
            + (f", and {'; '.join(damaged[:3])}" if damaged else ""),
            hint="repeat the `celo eval` command that started it",
        )
    return runs, cells, damaged


def canonical_entry(text: str) -> str:
    """The text under which results are kept; works for plugins that are gone, too."""
    from celo import registry
    from celo.errors import CeloError
    from celo.spec import check, parse

    spec = parse(text)
    try:
        return check(spec, registry.optimizer(spec.name, spec.source).record).text
    except CeloError:
        return spec.text


def open_cache(runs: Sequence[Run]) -> tuple[dict[str, Any], set[str]]:
    """Statistics computed before, of all runs, and their keys."""
    cache: dict[str, Any] = {}
    for run in runs:
        cache.update(run.read_note(STATISTICS_NOTE))
    return cache, set(cache)
