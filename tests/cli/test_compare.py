"""`celo compare` and `celo metrics`: what they print and how they leave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from celo.cli.main import main
from celo.evaluation.cells import Cell
from celo.evaluation.store import Run, RunSettings
from tests.evaluation.synthetic_cells import SCHEDULE, block, tuned

FINALS = [[5.0, 5.0, 5.0], [2.0, 2.1, 2.2], [9.0, 9.0, 9.0]]


def _run(path: Path, loss: float, *more: Cell) -> Path:
    run = Run.create(path, RunSettings(SCHEDULE))
    celo = [loss, 1.051 * loss, 1.102 * loss]
    for cell in [*tuned("adam", "T", FINALS), *block("celo", "T", celo), *more]:
        run.write(cell)
    return path


def _celo(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main([*map(str, arguments)])
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    return _run(tmp_path / "new", 1.5), _run(tmp_path / "old", 1.0)


def test_better_and_worse(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    new, old = runs
    code, out, err = _celo(capsys, "compare", new, old)
    assert (code, err) == (0, "")
    assert "A is worse" in out
    code, out, err = _celo(capsys, "compare", new, old, "--fail-if-worse", "--format", "json")
    assert code == 1
    assert json.loads(out)["comparisons"][0]["verdict"] == "worse"
    (sentence,) = err.splitlines()
    assert sentence.startswith(f"celo: celo in {new} is worse than celo in {old}: its final-loss")
    flags = ["--fail-if-worse", "--tolerance", 1]
    assert _celo(capsys, "compare", new, old, *flags)[0] == 0
    assert _celo(capsys, "compare", old, new, "--fail-if-worse")[0] == 0
    assert _celo(capsys, "compare", new, new, "--fail-if-worse")[0] == 0


def test_two_optimizers(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--run", runs[1], "--ema", 0, "--format", "json"]
    code, out, _ = _celo(capsys, "compare", "celo", "adam", *flags)
    (pair,) = json.loads(out)["comparisons"]
    assert code == 0
    assert (pair["a"], pair["b"], pair["reference"]) == ("celo", "adam", "adam")
    assert pair["iqm_a"]["value"] == pytest.approx(2.0, rel=0.01)
    code, out, _ = _celo(capsys, "compare", "celo", "adam", *flags, "--split", "test")
    assert json.loads(out)["comparisons"][0]["iqm_a"]["value"] == pytest.approx(1.5, rel=0.02)
    code, out, _ = _celo(capsys, "compare", "adam", "celo", *flags, "--reference", "none")
    assert json.loads(out)["comparisons"][0]["reference"] == "celo"


def test_incomplete_is_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = _run(tmp_path / "run", 1.0, *block("sgd", "T", [1.0, None, 1.0]))
    code, out, err = _celo(capsys, "compare", "sgd", "celo", "--run", run)
    assert code == 3
    assert "note: incomplete: 1 of 3 runs of sgd failed" in out
    assert "incomplete" in err


def test_wrong_usage(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = _celo(capsys, "compare", "celo", "adam")
    assert code == 2 and "--run RUN" in err
    code, _, err = _celo(capsys, "compare", *runs, "--tolerance", -1)
    assert code == 2 and "tolerance" in err


def test_report_metrics(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _celo(capsys, "report", runs[1], "--metrics", "rank", "--format", "json")
    assert code == 0
    assert {row["metric"] for row in json.loads(out)["aggregate"]} == {"rank_mean", "rank_first"}
    code, _, err = _celo(capsys, "report", runs[1], "--metrics", "rnak")
    assert code == 2
    assert err.splitlines() == ["celo: unknown metric 'rnak'", "  did you mean rank?"]
    code, out, _ = _celo(capsys, "report", runs[1], "--with", "published", "--horizon", 50)
    assert code == 0
    assert "Published by others" in out and "scored at 50" in out


def test_metrics_list_and_show(foreign_metrics: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _celo(capsys, "metrics", "list")
    assert code == 0
    assert "velo-speedup" in out and "celo-gauge 2.0" in out
    _, out, _ = _celo(capsys, "metrics", "list", "--format", "json")
    found = {entry["name"]: entry for entry in json.loads(out)}
    assert found["drop"]["origin"]["distribution"] == "celo-gauge"
    assert found["algoperf"]["options"][0]["default"] == 4.0
    _, out, _ = _celo(capsys, "metrics", "show", "AlgoPerf")
    assert "largest ratio that counts; default 4.0" in out
    _, out, _ = _celo(capsys, "metrics", "show", "rank", "--format", "json")
    assert json.loads(out)["better"] == "lower"
