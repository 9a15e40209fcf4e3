"""`docs/reproduce.py` lays our figures beside published ones and says what differs."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from celo.errors import UsageError
from celo.evaluation.cells import Cell, DataIdentity, Schedule
from celo.evaluation.store import Run, RunSettings
from celo.metrics.velo import published_envelopes
from tests.evaluation.synthetic_cells import block, tuned
from tests.shared_folder import REPOSITORY

SCHEDULE = Schedule(steps=2000)
XS = np.arange(0, 2001, 10)
TASK = "Conv_Cifar10_32x64x64"
PARTIAL = DataIdentity("cifar10", "partial", "partial (20000 of 50000 train rows)", "a" * 64)


@pytest.fixture(scope="module")
def reproduce() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reproduce", REPOSITORY / "docs/reproduce.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reproduce"] = module  # dataclasses look there
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "docs")  # what stands beside it, as for a script
        spec.loader.exec_module(module)
    return module


def _curve(factor: float) -> np.ndarray:
    envelope = published_envelopes("adam")[TASK]
    return factor * np.interp(XS, envelope.steps, envelope.loss)


def _long(cells: list[Cell]) -> list[Cell]:
    """The same cells with an evaluation of 2000 steps."""
    return [replace(c, curves={**c.curves, "eval/xs": XS}) for c in cells]


def _cells(task: str = TASK, **fields: Any) -> list[Cell]:
    fields = {"schedule": SCHEDULE, "data": PARTIAL, **fields}
    finals = [[_curve(3.0)] * 3, [_curve(1.1)] * 3]
    celo = [_curve(1.0)] * 3
    return _long(
        [*tuned("adam", task, finals, (0.1, 1.0), **fields), *block("celo", task, celo, **fields)]
    )


def _run(path: Path, cells: list[Cell], schedule: Schedule = SCHEDULE) -> Path:
    run = Run.create(path, RunSettings(schedule))
    for cell in cells:
        run.write(cell)
    return path


def _lines(text: str, *words: str) -> list[str]:
    return [line for line in text.splitlines() if all(word in line for word in words)]


def test_the_page_of_a_run(reproduce: ModuleType, tmp_path: Path) -> None:
    path = _run(tmp_path / "run", _cells())
    output = tmp_path / "page.md"
    assert reproduce.main([str(path), "--output", str(output), "--reps", "20"]) == 0
    text = output.read_text()
    same, different = text.split("What is not:")[0], text.split("What is not:")[1]
    assert "- steps: 2000 (published: 2000)" in same
    assert "- tasks: 1 of the 17 published ones" in different
    assert f"partial (cifar10: {PARTIAL.label})" in different
    assert "- tuning: one setting per task (published: one setting per task and seed)" in different
    assert "- Adam's learning rates: 2 tried (published: 15)" in different
    (line,) = _lines(text, "| celo | real | final loss iqm |")
    assert "1.10 [1.10, 1.10] | 1.2 (S)" in line
    # At step 0 there is no lag of the moving average: 1.1 times the published curve.
    (line,) = _lines(text, f"| {TASK} | adam, tuned |", "| 0 |")
    assert line.split("|")[7].strip() == "1.10"
    assert len(_lines(text, f"| {TASK} | adam, tuned |")) == 5
    assert len(_lines(text, "compared above")) == 3
    assert _lines(text, "Distributed Shampoo", "not measured")


def test_runs_that_must_not_meet_get_sections(reproduce: ModuleType, tmp_path: Path) -> None:
    one = _run(tmp_path / "one", _cells())
    two = _run(tmp_path / "two", _cells("Mine", schedule=Schedule(1000)), Schedule(1000))
    three = _run(tmp_path / "three", _cells("VIT_Cifar100_skinnydeep"))
    text = reproduce.document(reproduce.sections_of_runs([one, two, three], 20))
    titles = _lines(text, "## ", " steps, ")
    assert [title.split(" (")[0] for title in titles] == [
        "## 2000 steps, 2 tasks",
        "## 1000 steps, 1 task",
    ]
    assert "and 1 other (Mine)" in text


def test_a_run_without_a_reference_stands_beside_the_envelopes(
    reproduce: ModuleType, tmp_path: Path
) -> None:
    schedule = Schedule(200)
    text_task = "TransformerLM_LM1B_MultiRuntime_0"
    stand_in = DataIdentity("lm1b", "substitute", "substitute wikitext2", "b" * 64)
    curve = _curve(2.0)[:21]
    cells = [
        *block("adam:lr=0.001", TASK, [curve] * 3, schedule=schedule, data=PARTIAL),
        *block("celo", TASK, [curve] * 3, schedule=schedule, data=PARTIAL),
        *block("celo", text_task, [curve] * 3, schedule=schedule, data=stand_in),
    ]
    cells = [replace(c, curves={**c.curves, "eval/xs": XS[:21]}) for c in cells]
    text = reproduce.document(
        reproduce.sections_of_runs([_run(tmp_path / "run", cells, schedule)], 20)
    )
    assert "final loss iqm" not in text and "substitute (lm1b: substitute wikitext2)" in text
    # Adam at the first step and at the last, the others at the last alone.
    assert [line.split("|")[4].strip() for line in _lines(text, f"| {TASK} | adam")] == ["0", "200"]
    (own,) = _lines(text, f"| {TASK} | celo |")
    assert own.split("|")[4].strip() == "200" and float(own.split("|")[7]) > 1.5
    alone = [c for c in cells if c.key.task == text_task]
    report = replace(reproduce.sections_of_runs([_run(tmp_path / "one", alone, schedule)], 20)[0])
    rows = [{**row, "value": None} for row in report.report["aggregate"]]
    bare = replace(report, report={**report.report, "aggregate": rows, "complete": False})
    assert "None: they are relative to adam" in reproduce.document([bare])
    assert "incomplete: something" in reproduce.document([bare]) and "incomplete" not in text


def test_a_report_does_as_well_as_a_run(reproduce: ModuleType, tmp_path: Path) -> None:
    (section,) = reproduce.sections_of_runs([_run(tmp_path / "run", _cells())], 20)
    path = tmp_path / "report.json"
    path.write_text(json.dumps(section.report))
    output = tmp_path / "page.md"
    assert reproduce.main(["--report", str(path), "--output", str(output)]) == 0
    expected = reproduce.document([replace(section, cells=())])
    assert output.read_text() == expected
    provenance = {**section.report["provenance"], "reference": "celo"}
    other = reproduce.document(
        [replace(section, report={**section.report, "provenance": provenance})]
    )
    assert "1.2 (S)" in expected and "1.2 (S)" not in other
    for rubbish in ("no json", "[]", '{"schema": 2}'):
        path.write_text(rubbish)
        with pytest.raises(UsageError, match="is no report"):
            reproduce.section_of_report(path)


def test_a_missing_run_is_one_sentence(
    reproduce: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reproduce.main([str(tmp_path), "--output", str(tmp_path / "page.md")]) == 1
    assert "holds no run" in capsys.readouterr().err
    assert not (tmp_path / "page.md").exists()
    with pytest.raises(SystemExit):
        reproduce.main([])
