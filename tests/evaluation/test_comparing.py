"""A against B: paired, corrected, honest about what is missing."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import celo
from celo.errors import StoreError, UsageError
from celo.evaluation.cells import Cell, Schedule
from celo.evaluation.comparing import PairComparison, Side, compare_sides
from celo.evaluation.result import EvaluationResult
from celo.evaluation.scores import ScoreOptions
from celo.evaluation.store import Run, RunSettings
from celo.evaluation.summary import summarize
from celo.evaluation.versus import Comparison, compare
from tests.evaluation.synthetic_cells import SCHEDULE, block, curve, tuned

RAW = ScoreOptions(ema=0.0)
CACHE: dict[str, Any] = {}
TASKS = tuple(f"T{i}" for i in range(6))
JITTER = np.array([1.0, 1.02, 1.04])


def _adam(task: str) -> list[Cell]:
    return tuned("adam", task, [[5.0] * 3, list(2.0 * JITTER), [9.0] * 3])


def _entry(entry: str, loss: float, tasks: tuple[str, ...] = TASKS, **fields: Any) -> list[Cell]:
    return [
        c
        for i, task in enumerate(tasks)
        # Nearly the same ratio at every seed; not quite, or there is nothing to estimate.
        for c in block(entry, task, list(loss * JITTER * (1 + 0.001 * (i + 1) * JITTER)), **fields)
    ]


def _cells() -> list[Cell]:
    return [c for task in TASKS for c in _adam(task)] + _entry("celo", 1.0) + _entry("sgd", 3.0)


def _pair(a: str = "celo", b: str = "adam", cells: Any = None, **options: Any) -> PairComparison:
    cells = _cells() if cells is None else cells
    sides = Side(a, a, cells), Side(b, b, cells)
    return compare_sides(*sides, **{"options": RAW, "cache": CACHE, "reps": 100, **options})


def test_which_tasks_by_how_much_how_sure() -> None:
    found = _pair()
    assert [task.task for task in found.tasks] == [*TASKS]
    first = found.tasks[0]
    assert first.seeds == 3
    assert first.loss_b == pytest.approx(2.04)
    assert first.ratio == pytest.approx(2.0, rel=0.01)
    assert first.low < first.ratio < first.high < 2.1  # pyright: ignore
    smallest = min(t.p_value or 0 for t in found.tasks)
    assert min(t.p_adjusted or 0 for t in found.tasks) == pytest.approx(6 * smallest)
    assert all((t.p_adjusted or 0) >= (t.p_value or 0) for t in found.tasks)
    assert {t.verdict for t in found.tasks} == {"better"}
    # adam reaches about 2 at step 100, celo passes that before step 90.
    assert first.speedup == pytest.approx(100 / 90)
    assert found.iqm_b.value == 1.0 and found.iqm_a.value == pytest.approx(2.0, rel=0.01)
    assert found.difference.value == pytest.approx((found.iqm_a.value or 0) - 1.0)
    assert found.probability.value == 1.0
    assert found.p_value == 2 / 64
    assert (found.verdict, found.count("better"), found.reference) == ("better", 6, "adam")
    assert found.complete and not found.notes and not found.worse()


def test_the_other_way_round_is_the_opposite() -> None:
    one, other = _pair("celo", "adam"), _pair("adam", "celo")
    assert other.verdict == "worse" and other.count("worse") == 6
    assert other.difference.value == pytest.approx(-(one.difference.value or 0))
    assert other.tasks[0].ratio == pytest.approx(1 / (one.tasks[0].ratio or 1))
    assert other.tasks[0].speedup == 0.0
    assert other.probability.value == 0.0


def test_worse_says_why_and_tolerates() -> None:
    cells = [c for task in TASKS for c in _adam(task)]
    cells += _entry("new", 2.1) + _entry("old", 2.0)
    found = _pair("new", "old", cells)
    iqm, tasks = found.worse()
    assert iqm.startswith("its final-loss IQM differs by -0.0")
    assert "it is surely worse on T0 (loss ratio 0.952), T1" in tasks
    assert tasks.endswith("and 3 more tasks")
    assert found.worse(0.03) == [iqm, tasks]
    assert found.worse(0.06) == []
    one_task = _entry("new", 3.0, ("T0",)) + _entry("new", 2.0)[3:]
    found = _pair("new", "old", [c for c in cells if c.key.entry != "new"] + one_task)
    # An interquartile mean hardly sees a single task.
    assert found.worse(0.02) == ["it is surely worse on T0 (loss ratio 0.667)"]


def test_without_a_reference_b_is_it() -> None:
    found = _pair("celo", "sgd", [*_entry("celo", 1.0), *_entry("sgd", 3.0)])
    assert found.reference == "sgd"
    assert found.iqm_b.value == 1.0 and found.iqm_a.value == pytest.approx(3.0, rel=0.01)
    assert _pair("celo", "sgd", reference=None).reference == "sgd"


def test_divergence_everywhere_is_surely_worse() -> None:
    lost = curve(1.0)
    lost[-1] = math.nan
    cells = [c for t in TASKS[:2] for c in _adam(t)]
    cells += [*block("celo", "T0", [lost] * 3), *block("celo", "T1", [1.0, 1.01, lost])]
    found = _pair(cells=cells)
    first, second = found.tasks
    assert (first.verdict, first.lost_a, first.ratio, first.loss_a) == ("worse", 3, None, None)
    assert (second.verdict, second.lost_a) == ("unsure", 1)
    assert "T0 (lost)" in found.worse()[-1]
    assert found.complete  # divergence is a result


def test_what_is_missing_is_said() -> None:
    cells = [c for task in TASKS[:3] for c in _adam(task)]
    cells += (
        _entry("celo", 1.0, TASKS[:2]) + block("sgd", "T1", [3.0]) + _entry("sgd", 3.0, ("T0",))
    )
    cells += block("late", "T0", [1.0, None, 1.0])
    found = _pair(cells=cells)
    assert not found.complete
    assert found.notes == ("incomplete: only adam has results on T2",)
    found = _pair("celo", "sgd", cells)
    assert "incomplete: 2 runs of celo have no partner and are left out" in found.notes
    assert any("fewer than 3 seeds on 1 of 2 tasks" in note for note in found.notes)
    found = _pair("late", "celo", cells)
    assert "incomplete: 1 of 3 runs of late failed" in found.notes
    cells = _entry("celo", 1.0) + _entry("sgd", 3.0) + _adam("T0")
    found = _pair("celo", "sgd", cells)
    assert any("no results on 5 of 6 tasks" in note for note in found.notes)


def test_other_numerics_are_said() -> None:
    cells = [*_entry("celo", 1.0), *_entry("sgd", 3.0, numerics=(2, 1, 1))]
    assert any("different numerics" in note for note in _pair("celo", "sgd", cells).notes)


def test_what_cannot_be_compared_is_refused() -> None:
    cells = [*_entry("celo", 1.0, ("T0",)), *_entry("sgd", 3.0, ("T1",))]
    with pytest.raises(UsageError, match="celo and sgd have no task and seed in common"):
        _pair("celo", "sgd", cells)
    with pytest.raises(UsageError, match="no results of lion") as error:
        _pair("lion", "sgd", cells)
    assert "celo, sgd" in (error.value.hint or "")
    longer = [*_entry("celo", 1.0), *_entry("sgd", 3.0, schedule=Schedule(200))]
    with pytest.raises(UsageError, match="different horizons"):
        _pair("celo", "sgd", longer)
    elsewhere = [*_entry("celo", 1.0), *_entry("sgd", 3.0), *_adam("other")]
    with pytest.raises(UsageError, match="the reference adam has none of the tasks and seeds"):
        _pair("celo", "sgd", elsewhere)


# --- runs and results


def _run(path: Path, cells: list[Cell]) -> Path:
    run = Run.create(path, RunSettings(SCHEDULE))
    for cell in cells:
        run.write(cell)
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    old = _cells() + _entry("lopt", 1.0, weights="a" * 64)
    new = [c for c in _cells() if c.key.entry != "sgd"] + _entry("lopt", 1.5, weights="b" * 64)
    return _run(folder / "new", new), _run(folder / "old", old)


def test_two_runs_are_compared_optimizer_by_optimizer(runs: tuple[Path, Path]) -> None:
    found = compare(*runs, options=RAW)
    assert [pair.optimizer_a for pair in found.pairs] == ["celo", "lopt"]
    same, worse = found.pairs  # other weights under the same name are what is compared
    assert (same.verdict, same.difference.value, same.p_value) == ("unsure", 0.0, 1.0)
    assert worse.verdict == "worse"
    (sentence,) = found.worse()
    assert sentence.startswith(f"lopt in {runs[0]} is worse than lopt in {runs[1]}: its final-loss")
    (only,) = compare(*map(str, runs), optimizers=["lopt"], options=RAW).pairs
    assert only == worse
    # Scores of both are relative to one reference: that of the second run.
    assert worse.reference == "adam"


def test_two_optimizers_of_runs_and_the_python_interface(runs: tuple[Path, Path]) -> None:
    found = celo.compare("celo", "adam", runs=[runs[1]], ema=0.0)
    assert found.pairs[0].verdict == "better"
    assert found.complete
    cells = [c for c in _cells() if c.key.entry != "sgd"]
    summary = summarize(cells, options=RAW, cache=CACHE, reps=20)
    pair = EvaluationResult(None, summary, cells).compare("celo", "adam").pairs[0]
    assert replace(pair, probability=found.pairs[0].probability) == found.pairs[0]


def test_a_second_comparison_is_the_same(runs: tuple[Path, Path]) -> None:
    one, two = (compare("celo", "sgd", runs=[runs[1]]).render("json") for _ in range(2))
    assert one == two
    assert list(json.loads(one)) == ["schema", "run", "complete", "comparisons", "notes"]


def test_formats(runs: tuple[Path, Path]) -> None:
    found = compare(*runs, optimizers=["lopt"], options=RAW)
    text = found.render()
    assert max(map(len, text.replace(str(runs[0].parent), "runs").splitlines())) <= 80
    assert "A is worse" in text and "tasks better / worse / unsure" in text
    (value,) = json.loads(found.render("json"))["comparisons"]
    assert (value["verdict"], value["tasks_worse"]) == ("worse", 6)
    assert value["tasks"][0]["verdict"] == "worse"
    assert "| task | loss A | loss B |" in found.render("markdown")
    with pytest.raises(UsageError, match="no format 'html'"):
        found.render("html")
    noted = Comparison(tuple(replace(p, notes=("mind",)) for p in found.pairs), ("x is damaged",))
    assert not noted.complete
    for format_ in ("table", "markdown"):
        assert "mind" in noted.render(format_) and "x is damaged" in noted.render(format_)


def test_requests_that_make_no_sense(runs: tuple[Path, Path], tmp_path: Path) -> None:
    new, old = runs

    def refused(match: str, *names: Any, **options: Any) -> None:
        with pytest.raises(UsageError, match=match):
            compare(*names, **options)

    refused("two optimizers or two run folders", "celo", old)
    refused("no run is named", "celo", "adam")
    refused("are runs themselves", new, old, runs=[old])
    refused("of two runs", "celo", "adam", runs=[old], optimizers=["celo"])
    refused("compared with itself", "celo", "CELO", runs=[old])
    refused("no results of 'lion' in", "celo", "lion", runs=[old])
    refused("no results of 'sgd' in", new, old, optimizers=["sgd"])
    with pytest.raises(UsageError, match="tolerance must be 0 or more, got -1"):
        compare("celo", "adam", runs=[old]).worse(-1)
    with pytest.raises(StoreError, match="holds no run"):
        compare(str(tmp_path), str(tmp_path))
    left = _run(tmp_path / "left", [*_adam("T0"), *_entry("celo", 1.0, ("T0",))])
    right = _run(tmp_path / "right", [*_adam("T0"), *_entry("sgd", 1.0, ("T0",))])
    (pair,) = compare(left, right).pairs  # one each besides the reference
    assert (pair.optimizer_a, pair.optimizer_b) == ("celo", "sgd")
    bare = _run(tmp_path / "bare", [*_entry("lion", 1.0, ("T0",)), *_entry("celo", 1.0, ("T0",))])
    refused("have no optimizer in common", bare, right)


def test_a_folder_called_like_an_optimizer_is_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: tuple[Path, Path]
) -> None:
    (tmp_path / "celo").mkdir()
    monkeypatch.chdir(tmp_path)
    assert compare("celo", "adam", runs=[runs[1]]).pairs[0].optimizer_a == "celo"
