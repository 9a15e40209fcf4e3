"""Comparisons and the browser that all tests of the report share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from celo.evaluation.cells import Cell
from celo.evaluation.summary import Summary, summarize
from celo.report.panels import Panel, learning_curves
from tests.evaluation.large_comparison import comparison
from tests.evaluation.synthetic_cells import block
from tests.report.browser import Browser, browser, chromium

CACHE: dict[str, Any] = {}
"""Statistics by content, shared by all tests: they take seconds."""
AWKWARD = "adam:lr=1e-3,b1=0.95</script><b>&$x_1$%"
"""Letters that mean something in HTML, JavaScript, LaTeX or mathematics."""


@dataclass(frozen=True)
class Compared:
    """A comparison with its cells and curves."""

    cells: list[Cell]
    summary: Summary
    panels: tuple[Panel, ...]


def compared(cells: list[Cell], **options: Any) -> Compared:
    summary = summarize(cells, **{"cache": CACHE, "reps": 50, **options})
    return Compared(cells, summary, learning_curves(summary, cells))


@pytest.fixture(scope="session")
def small() -> Compared:
    """Ten optimizers, two tasks; one diverges, one failed, one has an awkward name."""
    cells = comparison(8, 2, steps=200)
    schedule, tasks = cells[0].key.schedule, sorted({cell.key.task for cell in cells})
    failed = block("broken", tasks[0], [None] * 3, schedule=schedule)
    awkward = [
        replace(cell, key=replace(cell.key, optimizer=AWKWARD, entry=AWKWARD))
        for cell in cells
        if cell.key.entry == "celo"
    ]
    return compared([*cells, *failed, *awkward])


@pytest.fixture(scope="session")
def page_file(small: Compared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of `small`."""
    from celo.report.document import Sources
    from celo.report.page import page

    path = tmp_path_factory.mktemp("page") / "report.html"
    sources = Sources(("runs/a folder",), "real")
    path.write_text(page(small.summary, small.panels, sources), "utf-8")
    return path


@pytest.fixture(scope="session")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if chromium() is None:
        pytest.skip("no Chromium here (Debian: chromium, chromium-driver)")
    with browser(tmp_path_factory.mktemp("profile")) as window:
        yield window
