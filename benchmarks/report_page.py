"""The page of the largest comparison: how big it is, and how soon a browser can use it.

python benchmarks/report_page.py [--repeats 5] [--keep FILE]

30 optimizers x 17 tasks x 3 seeds, 2000 steps (made up, nothing is trained), in a headless Chromium
that starts with an empty profile. Usable: everything in view is drawn and the page answers; the
time runs from navigation. Also: switching an optimizer off with all tasks' curves on screen.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from celo.evaluation.summary import summarize
from celo.report.page import page
from celo.report.panels import learning_curves
from tests.evaluation.large_comparison import comparison
from tests.report.browser import browser, chromium


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="keep the page in this file")
    options = parser.parse_args()
    cells = comparison(30, 17, 3)
    summary = summarize(cells, cache={})
    began = time.perf_counter()
    text = page(summary, learning_curves(summary, cells))
    made = time.perf_counter() - began
    print(
        f"{len(cells)} runs: {len(text.encode()) / 1e6:.2f} MB, written in {made:.1f} s (bar: 5 MB)"
    )
    if options.keep:
        options.keep.write_text(text, "utf-8")
    if chromium() is None:
        sys.exit("no Chromium here (Debian: chromium, chromium-driver): not timed")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        path.write_text(text, "utf-8")
        _timed(path, Path(folder), options.repeats)


def _timed(path: Path, folder: Path, repeats: int) -> None:
    usable, toggled = [], []
    for repeat in range(repeats):
        with browser(folder / f"profile-{repeat}") as window:
            window.size(1280, 900)
            usable.append(window.open(path) / 1000)
            window.size(1280, 6000)
            window.js("document.getElementById('curves').scrollIntoView()")
            window.settle()
            began = time.perf_counter()
            window.js("document.querySelector('#optimizers input:checked').click()")
            window.settle()
            toggled.append(time.perf_counter() - began)
            complaints = window.complaints()
            assert not complaints, complaints
    middle = statistics.median(usable)
    print(f"usable after {middle:.2f} s (worst {max(usable):.2f} s; bar: 2 s)")
    print(f"an optimizer switched off, all tasks on screen: {statistics.median(toggled):.2f} s")


if __name__ == "__main__":
    main()
