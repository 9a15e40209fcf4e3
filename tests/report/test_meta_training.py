"""What `celo report` makes of the folder of a meta-training."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from celo.cli.main import main
from celo.errors import StoreError, UsageError
from celo.report.meta_training import (
    is_meta_training,
    meta_figure,
    meta_panels,
    produce_meta,
    read_meta_runs,
)


def _stage(folder: Path, phase: int = 1, lines: int = 4, evaluations: int = 0) -> Path:
    """A run with `lines` lines of 20 iterations; its last meta-gradient was not finite."""
    folder.mkdir(parents=True)
    config = {"plugin": "celo", "phase": phase, "suite": "fast-velo", "iterations": 100}
    (folder / "run.json").write_text(json.dumps({"config": config, "data": {"mnist": "ab<12"}}))
    rows = [
        {
            "iteration": 20 * i,
            "iterations": 20,
            "loss": 2.5 - 0.5 * i,
            "family_loss": {"A": 2.0 - 0.1 * i, "B": 3.0},
            "gradient_norm": 0.1 * i if i < lines else None,
            "delta": 0.1,
            "non_finite": int(i == lines),
            "time": {"seconds": 3.0 * i},
        }
        for i in range(1, lines + 1)
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "log.jsonl").write_text(text + '{"iteration": 1')  # being written
    for i in range(1, evaluations + 1):
        with (folder / "evaluations.jsonl").open("a") as file:
            line = {"iteration": 10 * i, "suite": "quickstart", "final_loss": {"T": 1.0 / i}}
            file.write(json.dumps(line) + "\n")
    return folder


def _report(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(["report", *map(str, arguments)])
    captured = capfd.readouterr()
    return int(left.value.code or 0), captured.out, captured.err


def test_panels_hold_what_was_logged(tmp_path: Path) -> None:
    runs = read_meta_runs([_stage(tmp_path / "run", evaluations=2)])
    panels = {panel.title: panel for panel in meta_panels(runs)}
    titles = ["Meta-loss on A", "Meta-loss on B", "Evaluation on T"]
    assert [*panels] == ["Meta-loss", "Norm of the meta-gradient", *titles]
    [line] = panels["Meta-loss"].lines
    assert line.xs.tolist() == [20, 40, 60, 80] and line.ys.tolist() == [2.0, 1.5, 1.0, 0.5]
    [norm] = panels["Norm of the meta-gradient"].lines
    assert norm.ys.tolist()[:3] == pytest.approx([0.1, 0.2, 0.3]) and norm.ys[3] != norm.ys[3]
    assert panels["Evaluation on T"].lines[0].ys.tolist() == [1.0, 0.5]
    drawn = meta_figure(tuple(panels.values()))
    assert [ax.get_title() for ax in drawn.axes[:5]] == [*panels]
    assert drawn.axes[0].lines[0].get_ydata().tolist() == line.ys.tolist()  # type: ignore[union-attr]


def test_every_format(tmp_path: Path, capfd: Any) -> None:
    _stage(tmp_path / "run" / "stage-1" / "start-0", lines=2)
    _stage(tmp_path / "run" / "stage-1" / "start-1")
    _stage(tmp_path / "run" / "stage-2", phase=2)
    code, out, _ = _report(capfd, tmp_path / "run")
    assert code == 0 and max(map(len, out.splitlines())) <= 80
    names = ["stage-1/start-0", "stage-1/start-1", "stage-2"]
    assert [line.split()[0] for line in out.splitlines()[2:5]] == sorted(names)
    second = next(line for line in out.splitlines() if line.startswith("stage-2"))
    # The last three lines of 20 iterations are those that cover 50.
    assert second.split()[1:8] == ["celo", "2", "80/100", "2.0000", "1.0000", "1", "12"]
    value = json.loads(_report(capfd, tmp_path / "run", "--format", "json")[1])
    assert value["schema"] == 1 and value["runs"][0]["seconds"] == 6.0
    assert [row["iteration"] for row in value["log"]["stage-2"]] == [20, 40, 60, 80]
    rows = [*csv.DictReader(io.StringIO(_report(capfd, tmp_path / "run", "--format", "csv")[1]))]
    assert len(rows) == (2 + 4 + 4) * 4
    assert {row["panel"] for row in rows} >= {"Meta-loss", "Meta-loss on B"}
    for ending, magic in (("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")):
        target = tmp_path / f"curves.{ending}"
        assert _report(capfd, tmp_path / "run", "--output", target)[0] == 0
        assert target.read_bytes().startswith(magic)
    page = tmp_path / "page.html"
    assert _report(capfd, tmp_path / "run", "--output", page)[0] == 0
    html = page.read_text("utf-8")
    assert "Meta-training of celo" in html and html.count("<svg") == 1 and "<?xml" not in html
    assert "Norm of the meta-gradient" in html and "ab&lt;12" in html and "ab<12" not in html
    assert "<script" not in html and "http-equiv" in html
    code, _, err = _report(capfd, tmp_path / "run", "--format", "latex")
    assert code == 2 and "no report in the format latex" in err


def test_folders_that_cannot_be_shown(tmp_path: Path) -> None:
    good = _stage(tmp_path / "good")
    assert is_meta_training(good) and not is_meta_training(tmp_path / "none")
    assert [run.name for run in read_meta_runs([good])] == [""]
    with pytest.raises(StoreError, match="was not written by `celo meta-train`"):
        read_meta_runs([good, tmp_path / "none"])
    empty = _stage(tmp_path / "empty", lines=0)
    with pytest.raises(UsageError, match="has no line in its log yet"):
        read_meta_runs([empty])
    (good / "run.json").write_text("{}")
    with pytest.raises(StoreError, match="cannot be read: KeyError"):
        read_meta_runs([good])


def test_pages_need_their_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from celo.errors import CeloError

    runs = read_meta_runs([_stage(tmp_path / "run")])
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(CeloError, match="needs jinja2"):
        produce_meta(runs, "html")


def test_no_jax_is_imported(tmp_path: Path) -> None:
    folder = _stage(tmp_path / "run")
    code = (
        "import sys; from celo.report.meta_training import *; from pathlib import Path\n"
        "produce_meta(read_meta_runs([Path(sys.argv[1])]), 'table')\n"
        "print(sorted({'jax', 'haiku', 'celo.metatrain'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
