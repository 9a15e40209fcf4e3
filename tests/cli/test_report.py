"""`celo report`: reads runs, merges them, says what is missing; no JAX."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from celo.cli.main import main
from celo.evaluation.cells import Cell, DataIdentity, Schedule
from celo.evaluation.requests import Request, add_request
from celo.evaluation.store import Run, RunSettings
from tests.evaluation.synthetic_cells import SCHEDULE, block, tuned

FINALS = [[5.0, 5.0, 5.0], [2.0, 2.0, 2.0], [9.0, 9.0, 9.0]]


def _run(path: Path, cells: list[Cell], schedule: Schedule = SCHEDULE) -> Path:
    kinds = {cell.key.data.comparable for cell in cells}
    data = "synthetic" if kinds == {"synthetic"} else "real"
    run = Run.create(path, RunSettings(schedule, data=data))
    for cell in cells:
        run.write(cell)
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return _run(tmp_path / "run", [*tuned("adam", "T", FINALS), *block("celo", "T", [1.0] * 3)])


def _report(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(["report", *map(str, arguments)])
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


def _json(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, dict[str, Any]]:
    code, out, _ = _report(capsys, *arguments, "--format", "json")
    return code, json.loads(out)


def _score(value: dict[str, Any], optimizer: str = "celo") -> set[float | None]:
    return {r["final_loss_score"] for r in value["tasks"] if r["optimizer"] == optimizer}


def test_a_complete_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, value = _json(capsys, run, "--ema", 0)
    assert code == 0
    assert value["complete"] is True
    assert _score(value) == {2.0}
    assert [r["optimizer"] for r in value["aggregate"][::10]] == ["adam", "celo"]


@pytest.mark.parametrize("format_", ["table", "markdown", "csv"])
def test_formats(run: Path, capsys: pytest.CaptureFixture[str], format_: str) -> None:
    code, out, err = _report(capsys, run, "--format", format_)
    assert (code, err) == (0, "")
    assert {"table": "IQM relative to adam", "markdown": "| celo |", "csv": "T,celo,0,"}[
        format_
    ] in out


def test_runs_are_merged(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = _run(tmp_path / "other", block("sgd:lr=0.1", "T", [4.0] * 3))
    for order in ((run, other), (other, run)):
        code, value = _json(capsys, *order, "--ema", 0)
        assert code == 0
        assert _score(value, "sgd:lr=0.1") == {0.5}


def test_what_must_not_be_merged_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    longer = Schedule(200)
    other = _run(tmp_path / "other", block("celo", "U", [1.0], schedule=longer), longer)
    code, out, err = _report(capsys, run, other)
    assert (code, out) == (2, "")
    assert "100 steps and 200 steps" in err


def test_options_reach_the_scores(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _score(_json(capsys, run, "--ema", 0, "--split", "test")[1]) == {1.5}
    assert _score(_json(capsys, run)[1]) != {2.0}
    flags = ["--ema", 0, "--lenient", "--selection", "per-seed"]
    scores = _json(capsys, run, *flags)[1]["provenance"]["scores"]
    assert scores == {
        "split": "train", "ema": 0.0, "divergence": "published", "selection": "per-seed"
    }  # fmt: skip
    code, _, err = _report(capsys, run, "--ema", 1)
    assert code == 2
    assert "ema must be" in err


def test_references(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _score(_json(capsys, run, "--reference", "none")[1]) == {None}
    assert _score(_json(capsys, run, "--ema", 0, "--reference", "CELO")[1], "adam") == {0.5}
    code, _, err = _report(capsys, run, "--reference", "sgd")
    assert code == 2
    assert "no results of the reference 'sgd'" in err
    assert "adam, celo" in err


def test_the_default_reference_may_be_absent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _run(tmp_path / "run", block("celo", "T", [1.0] * 3))
    code, value = _json(capsys, path)
    assert code == 0
    assert value["provenance"]["notes"] == ["no results of the reference adam: there are no scores"]


def test_failures_are_reported_with_exit_code_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _run(tmp_path / "run", block("celo", "T", [1.0, None, 1.0]))
    code, out, err = _report(capsys, path)
    assert code == 3
    assert "failed 1/3" in out
    assert "incomplete" in err


def test_what_the_run_was_asked_for_is_expected_in_that_order(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def asked(*entries: str, tasks: tuple[str, ...] = ("T",)) -> None:
        add_request(Run.open(run), Request(entries, tasks, (0, 1, 2), "adam"))

    asked("celo", "adam")
    assert _json(capsys, run)[0] == 0
    asked("sgd", "celo", tasks=("U", "T"))
    code, value = _json(capsys, run)
    assert code == 3
    assert list(value["provenance"]["optimizers"]) == ["adam", "celo", "sgd"]
    assert "incomplete: sgd lacks 2 of 2 tasks (T, U)" in value["provenance"]["notes"]


def test_requests_do_not_multiply(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One optimizer on one seed and another on another task ask for nothing else."""
    for request in (
        Request(("adam", "celo"), ("T",), (0, 1, 2), "adam"),
        Request(("celo",), ("T",), (0,), "adam"),
    ):
        add_request(Run.open(run), request)
    assert _json(capsys, run)[0] == 0
    skipped = Request(("celo",), ("T", "V"), (0,), "adam", {"V": "no data"})
    add_request(Run.open(run), skipped)
    code, value = _json(capsys, run)
    assert code == 3 and value["complete"] is False
    assert "incomplete: V was skipped: no data" in value["provenance"]["notes"]


def test_the_reference_is_that_of_the_latest_request(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_request(Run.open(run), Request(("adam", "celo"), ("T",), (0, 1, 2), "celo"))
    _, value = _json(capsys, run)
    scores = {r["optimizer"]: r["final_loss_score"] for r in value["tasks"]}
    assert scores["celo"] == 1.0 and scores["adam"] != 1.0


def test_an_unreadable_request_is_none(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Run.open(run).write_note("request", {"requests": [{"entries": 3}]})
    assert _json(capsys, run)[0] == 0


def test_damaged_cells_are_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = next((run / "cells" / "T" / "celo").glob("*.npz"))
    path.write_bytes(path.read_bytes()[:100])
    code, out, _ = _report(capsys, run)
    assert code == 3
    assert f"{path.name} is damaged" in " ".join(out.split())


def test_a_damaged_file_makes_it_incomplete_even_if_nothing_is_missed(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "cells" / "T" / "celo" / "seed9-0123.npz").write_bytes(b"rubbish")
    code, value = _json(capsys, run)
    assert (code, value["complete"]) == (3, False)
    assert _score(value) != {None}


def test_an_empty_run_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _run(tmp_path / "run", [])
    code, out, err = _report(capsys, path)
    assert (code, out) == (1, "")
    assert f"{path} holds no finished results" in err
    code, _, err = _report(capsys, tmp_path / "nowhere")
    assert code == 1
    assert "holds no run" in err


@pytest.mark.parametrize("format_", ["table", "markdown", "csv", "json"])
def test_a_run_whose_first_block_is_half_done_is_shown_as_incomplete(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], format_: str
) -> None:
    path = _run(tmp_path / "run", block("celo", "T", [1.0] * 3)[:2])
    code, out, err = _report(capsys, path, "--format", format_)
    assert code == 3 and "incomplete" in err and out
    if format_ != "csv":
        assert "2 cells of unfinished blocks" in " ".join(out.split())


def test_runs_of_other_horizons_or_data_are_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    longer = Schedule(500)
    other = _run(tmp_path / "a", block("celo", "T", [1.0] * 3, schedule=longer), longer)
    code, out, err = _report(capsys, run, other)
    assert (code, out) == (2, "")
    assert "different horizons cannot be compared: 100 steps and 500 steps" in err
    assert "report them separately" in err
    made_up = DataIdentity("data of T", "synthetic", "synthetic", "f" * 64)
    other = _run(tmp_path / "b", block("celo", "U", [1.0] * 3, data=made_up))
    code, out, err = _report(capsys, run, other)
    assert (code, out) == (2, "")
    assert "different kinds of data cannot be compared: real data and synthetic data" in err


def test_runs_that_disagree_about_a_cell_are_said_to(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = _run(tmp_path / "other", block("celo", "T", [1.0, 1.5, 1.0]))
    code, one = _json(capsys, run, other)
    assert code == 0
    [note] = [n for n in one["provenance"]["notes"] if n.startswith("conflicting")]
    assert "different curves of celo on T (seed 1)" in note
    assert _json(capsys, other, run)[1]["tasks"] == one["tasks"]
    same = _run(tmp_path / "same", block("celo", "T", [1.0] * 3))
    notes = _json(capsys, run, same)[1]["provenance"]["notes"]
    assert not [note for note in notes if "conflicting" in note]


def test_the_horizon_of_a_suite_is_remembered(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = SCHEDULE.steps
    _, value = _json(capsys, run)
    assert f"{steps} steps, published: 2000" in value["not_publishable"]
    request = Request(("celo",), ("T",), (0, 1, 2), "adam", publishable_steps=steps)
    add_request(Run.open(run), request)
    _, value = _json(capsys, run)
    assert f"{steps} steps, published: 2000" not in value["not_publishable"]


def test_a_repeated_report_imports_nothing_heavy_and_agrees(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, first, _ = _report(capsys, run, "--format", "json")
    code = f"""
import sys
from celo.cli.main import main
try:
    main(["report", {str(run)!r}, "--format", "json"])
finally:
    heavy = ("jax", "pandas", "rliable", "scipy", "haiku", "optax")
    print([m for m in heavy if m in sys.modules], file=sys.stderr)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == first
    assert out.stderr.strip() == "[]"


def test_a_run_that_cannot_be_written_is_still_reported(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("celo.evaluation.store.write_atomically", full)
    assert _json(capsys, run)[0] == 0
