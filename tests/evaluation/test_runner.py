"""Whole evaluations through the Python interface."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import celo
from celo.evaluation import loop
from celo.evaluation.result import EvaluationResult

TASK = "Digits_MLP_32"


def evaluate(output: Path, optimizers: str = "sgd:lr=0.1", **changes: Any) -> EvaluationResult:
    fields: dict[str, Any] = {
        "tasks": (TASK,),
        "steps": 20,
        "reference": None,
        "eval_batches": 1,
        "last_eval_batches": 2,
        **changes,
    }
    return celo.evaluate(optimizers, output=output, **fields)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> EvaluationResult:
    return evaluate(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def no_computing(monkeypatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a finished block was computed again")

    monkeypatch.setattr(loop, "compile_program", refuse)


def test_curves_have_the_published_shape(first: EvaluationResult) -> None:
    assert first.complete and len(first.cells) == 3
    cell = first.cells[0]
    assert cell.curves["eval/xs"].tolist() == [0, 10, 20]
    assert cell.curves["train/loss"].shape == (21,) and cell.curves["train/xs"][-1] == 20
    for split in ("train", "outer_valid", "test"):
        assert np.isfinite(cell.curves[f"eval/{split}/loss"]).all()
    assert cell.curves["eval/train/loss"][-1] < cell.curves["eval/train/loss"][0]
    assert cell.provenance["versions"]["jax"]
    assert cell.provenance["optimizer_plugin"]["distribution"] == "celo"


def test_pandas(first: EvaluationResult) -> None:
    table = first.to_pandas()
    assert table["seed"].tolist() == [0, 1, 2]
    assert set(table["status"]) == {"done"}


def test_a_second_run_computes_nothing(first: EvaluationResult, no_computing) -> None:
    assert first.path is not None
    again = evaluate(first.path)
    for ours, theirs in zip(first.cells, again.cells, strict=True):
        np.testing.assert_array_equal(ours.curves["train/loss"], theirs.curves["train/loss"])


def test_two_runs_are_equal_to_the_bit(first: EvaluationResult, tmp_path: Path) -> None:
    other = evaluate(tmp_path / "run", "sgdm:lr=0.01,sgd:lr=0.1")
    mine = [cell for cell in other.cells if cell.key.entry == "sgd:lr=0.1"]
    for ours, theirs in zip(first.cells, mine, strict=True):
        assert ours.key.digest == theirs.key.digest
        for name in ours.curves:
            np.testing.assert_array_equal(ours.curves[name], theirs.curves[name])


def test_a_damaged_cell_is_set_aside_and_computed_again(tmp_path: Path) -> None:
    path = tmp_path / "run"
    before = evaluate(path, seeds=(0,))
    file = next(path.glob("cells/*/*/*.npz"))
    file.write_bytes(file.read_bytes()[:-7])
    after = evaluate(path, seeds=(0,))
    assert file.exists() and file.with_name(file.name + ".damaged").exists()
    ours, theirs = before.cells[0].curves, after.cells[0].curves
    np.testing.assert_array_equal(ours["train/loss"], theirs["train/loss"])


def test_divergence_is_a_result(bad_plugins: Path, tmp_path: Path) -> None:
    result = evaluate(tmp_path / "run", "nan:at=5,sgd:lr=0.1", seeds=(0,), reference="sgd:lr=0.1")
    assert result.complete
    nan = next(cell for cell in result.cells if cell.key.entry == "nan:at=5")
    assert nan.status == "diverged" and nan.step == 10
    row = result.to_pandas().set_index("optimizer").loc["nan:at=5"]
    assert row["final_loss_score"] == 0 and row["speedup"] == 0


def test_an_optimizer_that_raises_is_recorded_and_harms_nobody(
    bad_plugins: Path, tmp_path: Path
) -> None:
    result = evaluate(tmp_path / "run", "raises,nonesuch,sgd:lr=0.1", seeds=(0,))
    assert not result.complete
    by_entry = {cell.key.entry: cell for cell in result.cells}
    assert by_entry["raises"].status == "failed"
    assert "no more ideas" in (by_entry["raises"].reason or "")
    assert "build_nonesuch" in (by_entry["nonesuch"].reason or "")
    assert by_entry["sgd:lr=0.1"].status == "done"


def test_a_build_that_exits_is_recorded(bad_plugins: Path, tmp_path: Path, monkeypatch) -> None:
    import celo_bad  # pyright: ignore[reportMissingImports]

    def leave(at: int = 5) -> None:
        raise SystemExit(7)

    monkeypatch.setattr(celo_bad, "build_raises", leave)
    result = evaluate(tmp_path / "run", "raises,sgd:lr=0.1", seeds=(0,))
    assert [cell.status for cell in result.cells] == ["failed", "done"]


def test_an_observer_that_fails_is_no_failed_run(tmp_path: Path) -> None:
    from celo.evaluation.config import EvalConfig
    from celo.evaluation.plan import make_plan
    from celo.evaluation.runner import SilentObserver, run_plan

    class Broken(SilentObserver):
        def advanced(self, block, progress) -> None:
            raise BrokenPipeError

    config = EvalConfig(
        optimizers=("sgd:lr=0.1",),
        tasks=(TASK,),
        steps=20,
        seeds=(0,),
        reference=None,
        output=tmp_path / "run",
    )
    outcome = run_plan(make_plan(config), Broken())
    assert outcome.complete and [cell.status for cell in outcome.cells] == ["done"]


def test_a_failed_block_hides_no_finished_one(bad_plugins: Path, tmp_path: Path, monkeypatch):
    evaluate(tmp_path / "run", "nan:at=999", seeds=(0,))
    import celo_bad  # pyright: ignore[reportMissingImports]

    def fail(at: int = 5) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(celo_bad, "build_nan", fail)
    evaluate(tmp_path / "run", "nan:at=999", seeds=(0, 1, 2))
    from celo.evaluation.store import Run
    from celo.evaluation.summary import summarize

    cells, _ = Run.open(tmp_path / "run").cells()
    assert [row.status for row in summarize(cells, reference=None).tasks] == ["done"]


def test_a_loss_that_is_nan_from_the_start_scores_zero(bad_plugins: Path, tmp_path: Path) -> None:
    result = evaluate(
        tmp_path / "run", "sgd:lr=0.1", tasks=("Hopeless",), seeds=(0,), reference="sgd:lr=0.1"
    )
    assert result.cells[0].status == "diverged" and result.cells[0].step == 0
    assert result.to_pandas()["final_loss_score"].tolist() == [0.0]


def test_random_weights_are_labelled(tmp_path: Path) -> None:
    result = evaluate(tmp_path / "run", "celo@random:1", seeds=(0,))
    assert result.cells[0].key.weights == "random:1"
    assert "celo@random:1" in result.render("table")
    value = json.loads(result.render("json"))
    assert value["tasks"][0]["optimizer"] == "celo@random:1"
