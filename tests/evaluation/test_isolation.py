"""Optimizers that hang, die, raise or want too much: recorded, and the rest goes on."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

import celo
from celo.errors import WeightsError
from celo.evaluation import isolation, worker
from celo.evaluation.cells import Cell
from celo.evaluation.result import EvaluationResult
from tests.shared_folder import checkpoints_dir


def evaluate(output: Path, optimizers: str, **changes: Any) -> EvaluationResult:
    fields: dict[str, Any] = {
        "tasks": ("Digits_MLP_32",),
        "steps": 60,
        "seeds": (0,),
        "reference": "sgd:lr=0.1",
        "eval_batches": 1,
        "last_eval_batches": 1,
        **changes,
    }
    return celo.evaluate(optimizers, output=output, **fields)


def by_entry(result: EvaluationResult) -> dict[str, list[Cell]]:
    entries: dict[str, list[Cell]] = {}
    for cell in result.cells:
        entries.setdefault(cell.key.entry, []).append(cell)
    return entries


def test_what_goes_wrong_inside_the_loop_is_recorded(
    faulty_plugins: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = evaluate(tmp_path / "run", "raises-late,nan-for-some", seeds=(0, 1, 2))
    cells = by_entry(result)
    for cell in cells["raises-late"]:
        assert (cell.status, cell.step) == ("failed", 10)
        assert cell.reason == "RuntimeError: no more ideas at step 25, after step 10"
    assert {cell.status for cell in cells["nan-for-some"]} == {"done", "diverged"}
    for cell in cells["nan-for-some"]:
        finite = np.isfinite(cell.curves["train/loss"])
        assert finite[:26].all()
        if cell.status == "diverged":
            assert cell.step == 30 and "step 30" in (cell.reason or "") and not finite[26:].any()
        else:
            assert finite.all()
    table = result.to_pandas().set_index("optimizer")
    lost = table[table["status"] != "done"]
    assert (lost["final_loss_score"] == 0).all() and (lost["speedup"] == 0).all()
    assert (table.loc["sgd:lr=0.1", "status"] == "done").all()
    assert not result.complete and "no more ideas" in result.render("table")
    assert not [record for record in caplog.records if record.exc_info]


@pytest.fixture
def impatient(faulty_plugins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour is over as soon as `hangs` hangs."""

    def clock() -> float:
        return time.monotonic() + (3600 if faulty_plugins.exists() else 0)

    monkeypatch.setattr(isolation, "time", SimpleNamespace(monotonic=clock))
    monkeypatch.setattr(isolation, "_LONGEST_WAIT_S", 0.05)


@pytest.mark.slow
def test_what_goes_wrong_around_the_loop_is_recorded(
    faulty_plugins: Path, impatient: None, tmp_path: Path
) -> None:
    result = evaluate(
        tmp_path / "run", "hoards,hangs,killed,sgd:lr=0.1", time_limit=3500, memory_limit="1G"
    )
    cells = {entry: cells[0] for entry, cells in by_entry(result).items()}
    assert {entry: cell.status for entry, cell in cells.items()} == {
        "hoards": "failed",
        "hangs": "failed",
        "killed": "failed",
        "sgd:lr=0.1": "done",
    }
    reasons = {entry: cell.reason or "" for entry, cell in cells.items()}
    assert reasons["hoards"].startswith("not run: it needs ")
    assert "GiB by the compiler's estimate, and --memory-limit allows 1 GiB" in reasons["hoards"]
    assert reasons["hangs"] == f"stopped by --time-limit 3500 s at step {cells['hangs'].step}"
    assert "killed by SIGKILL, as happens when memory runs out, after step" in reasons["killed"]
    for entry in ("hangs", "killed"):
        assert cells[entry].step in (0, 10, 20) and cells[entry].provenance["platform"] == "cpu"
    _wait_for_the_end(int(faulty_plugins.read_text()))
    here = evaluate(tmp_path / "here", "sgd:lr=0.1").cells[0]
    there = cells["sgd:lr=0.1"]
    assert here.key == there.key and here.curves.keys() == there.curves.keys()
    for name, values in here.curves.items():
        np.testing.assert_array_equal(values, there.curves[name])
    for name in ("versions", "platform", "device", "matmul_precision"):
        assert here.provenance[name] == there.provenance[name]


def test_a_worker_that_never_starts_is_recorded(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(isolation, "_BOOTSTRAP", "import sys; sys.exit(5)")
    [cell] = evaluate(tmp_path / "run", "sgd:lr=0.1", isolate=True).cells
    assert (cell.status, cell.step) == ("failed", None)
    assert cell.reason == "its process ended with exit code 5"


def test_a_worker_that_takes_too_long_to_start_is_stopped(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(isolation, "_BOOTSTRAP", "import time; time.sleep(600)")
    monkeypatch.setattr(isolation, "_START_LIMIT_S", 0.25)
    began = time.monotonic()
    [cell] = evaluate(tmp_path / "run", "sgd:lr=0.1", isolate=True).cells
    assert time.monotonic() - began < 300
    assert (cell.status, cell.step) == ("failed", None)
    assert cell.reason == "its process did not start within 0.25 s"


def test_why_a_worker_cannot_serve_is_recorded(tmp_path: Path, monkeypatch) -> None:
    script = tmp_path / "worker.py"
    script.write_text(
        "import json, sys\n"
        "sys.path[:] = json.loads(sys.argv.pop())\n"
        "from celo.evaluation import worker\n"
        "def fail(self):\n"
        "    raise RuntimeError('no device is left')\n"
        "worker._Worker._start = fail\n"
        "worker.main()\n"
    )
    bootstrap = f"exec(open({str(script)!r}).read())"
    monkeypatch.setattr(isolation, "_BOOTSTRAP", bootstrap)
    [cell] = evaluate(tmp_path / "run", "sgd:lr=0.1", isolate=True).cells
    assert (cell.status, cell.step) == ("failed", None)
    assert cell.reason == "RuntimeError: no device is left"


def test_weights_of_another_optimizer_are_refused_as_without(tmp_path: Path) -> None:
    path = checkpoints_dir() / "celo-adam" / "theta.state"
    with pytest.raises(WeightsError, match="ff_mod_stack"):
        evaluate(tmp_path / "run", f"celo@{path}", reference=None, isolate=True)
    assert not list(tmp_path.rglob("*.npz"))


def test_settings_of_jax_travel() -> None:
    with jax.default_matmul_precision("float32"):
        settings = worker.export_settings()
    assert settings["jax_default_matmul_precision"] == "float32"
    before = getattr(jax.config, "jax_default_matmul_precision", None)
    try:
        worker.import_settings(settings)
        assert getattr(jax.config, "jax_default_matmul_precision", None) == "float32"
    finally:
        jax.config.update("jax_default_matmul_precision", before)


def test_half_a_message_is_none() -> None:
    import io

    whole = io.BytesIO()
    worker.send(whole, {"kind": "computed"}, np.arange(3), np.zeros((2, 2), np.float32))
    data = whole.getvalue()
    received = worker.receive(io.BytesIO(data))
    assert received is not None and received[0] == {"kind": "computed"}
    np.testing.assert_array_equal(received[1][0], np.arange(3))
    for size in (0, 5, len(data) // 2, len(data) - 1):
        assert worker.receive(io.BytesIO(data[:size])) is None


def _wait_for_the_end(process: int) -> None:
    for _ in range(1000):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    raise AssertionError(f"process {process} goes on")
