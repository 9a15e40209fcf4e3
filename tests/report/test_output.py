"""Formats, endings, destinations, and what is missing or makes no sense."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from celo.cli import report as command
from celo.cli.main import main
from celo.errors import CeloError, StoreError, UsageError
from celo.evaluation.result import EvaluationResult
from celo.evaluation.store import Run, RunSettings
from celo.report import output
from celo.report.figures import FIGURES
from celo.report.output import choose_format, curves_csv, produce, write
from tests.evaluation.synthetic_cells import SCHEDULE, block, tuned
from tests.report.conftest import Compared


@pytest.fixture
def run(tmp_path: Path) -> Path:
    opened = Run.create(tmp_path / "run", RunSettings(SCHEDULE))
    for cell in [*tuned("adam", "T", [[2.0] * 3], grid=(0.1,)), *block("celo", "T", [1.0] * 3)]:
        opened.write(cell)
    return opened.path


def _report(capfd: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(["report", *map(str, arguments)])
    out, err = capfd.readouterr()
    return int(left.value.code or 0), out, err


def test_the_command_knows_the_formats_and_figures() -> None:
    assert command.FORMATS == output.FORMATS
    assert command.FIGURES == FIGURES


@pytest.mark.parametrize(
    ("format_", "name", "expected"),
    [
        (None, None, "table"),
        ("json", None, "json"),
        (None, "a.html", "html"),
        (None, "a.TEX", "latex"),
        (None, "a.md", "markdown"),
        ("json", "a.txt", "json"),
        ("svg", "a.b", "svg"),
    ],
)
def test_the_format_follows_from_flag_or_ending(
    format_: str | None, name: str | None, expected: str
) -> None:
    assert choose_format(format_, Path(name) if name else None) == expected


@pytest.mark.parametrize(
    ("format_", "name", "words"),
    [
        ("docx", None, "no format 'docx'"),
        (None, "a.docx", "no ending that stands for a format"),
        ("png", "a.pdf", "is the name of a pdf file, and the format is png"),
    ],
)
def test_what_is_no_format_is_said(format_: str | None, name: str | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        choose_format(format_, Path(name) if name else None)


def test_options_without_use_are_refused(small: Compared) -> None:
    with pytest.raises(UsageError, match="curves are for json and csv, not for html"):
        produce(small.summary, small.cells, "html", curves=True)
    with pytest.raises(UsageError, match="figures are for png, pdf, svg, not for json"):
        produce(small.summary, small.cells, "json", figures=["curves"])


def test_csv_of_curves_has_a_row_for_every_loss(small: Compared) -> None:
    rows = list(csv.DictReader(io.StringIO(curves_csv(small.summary, small.panels))))
    assert {row["not_publishable"] for row in rows} == {"; ".join(small.summary.not_publishable)}
    lines = [(p, line) for p in small.panels for line in p.lines]
    assert len(rows) == sum(line.xs.size for _, line in lines)
    panel, line = lines[0]
    own = [
        r for r in rows if (r["task"], r["optimizer"], r["seed"]) == (panel.title, line.name, "0")
    ]
    assert [float(r["loss"]) for r in own] == line.ys.tolist()
    assert [float(r["step"]) for r in own] == line.xs.tolist()
    assert {r["data"] for r in rows} == {"real"}
    assert {r["status"] for r in rows} == {"done", "diverged"}


def test_files_are_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write(path, "é")
    assert path.read_text("utf-8") == "é\n"
    write(path, b"\0")
    assert path.read_bytes() == b"\0"
    with pytest.raises(StoreError, match="is a folder"):
        write(tmp_path, "x")
    with pytest.raises(StoreError, match="cannot be written"):
        write(path / "below", "x")


@pytest.mark.parametrize(
    ("library", "format_", "words"),
    [
        ("altair", "html", "needs altair"),
        ("vl_convert", "html", "needs vl-convert-python"),
        ("jinja2", "html", "needs jinja2"),
        ("matplotlib", "svg", "figures need matplotlib"),
    ],
)
def test_a_missing_extra_is_one_sentence(
    small: Compared, monkeypatch: pytest.MonkeyPatch, library: str, format_: str, words: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(CeloError, match=words) as error:
        produce(small.summary, small.cells, format_)
    assert error.value.hint == "pip install 'celo[plot]'"


def test_the_command_writes_files(run: Path, tmp_path: Path, capfd: Any) -> None:
    target = tmp_path / "figure.svg"
    code, out, err = _report(capfd, run, "--output", target, "--figure", "curves")
    assert (code, out) == (0, "")
    assert f"written: {target}" in err
    assert target.read_bytes().startswith(b"<?xml")
    page = tmp_path / "page.html"
    assert _report(capfd, run, "--output", page)[0] == 0
    html = page.read_text("utf-8")
    assert html.startswith("<!DOCTYPE html>") and f"celo report {run}" in html
    code, out, _ = _report(capfd, run, "--format", "latex")
    assert code == 0 and r"\toprule" in out
    code, _, err = _report(capfd, run, "--output", tmp_path / "x.docx")
    assert code == 2 and "stands for a format" in err


def test_pictures_go_into_pipes_and_not_to_terminals(
    run: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import sys; from celo.cli.main import main; main(sys.argv[1:])"
    arguments = ["report", str(run), "--format", "png"]
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout.startswith(b"\x89PNG")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    for format_ in output.NO_TERMINAL:
        code, out, err = _report(capfd, run, "--format", format_)
        assert (code, out) == (2, "")
        assert f"a terminal cannot show {format_}" in err and f"report.{format_}" in err


def test_an_empty_run_is_one_sentence_in_any_format(tmp_path: Path, capfd: Any) -> None:
    Run.create(tmp_path / "run", RunSettings(SCHEDULE))
    for format_ in ("html", "pdf", "latex"):
        target = tmp_path / f"out.{format_}"
        code, _, err = _report(capfd, tmp_path / "run", "--format", format_, "--output", target)
        assert code == 1 and "holds no finished results" in err
        assert not target.exists()


def test_results_in_python_become_pages_and_figures(small: Compared, tmp_path: Path) -> None:
    result = EvaluationResult(None, small.summary, small.cells)
    path = result.to_html(str(tmp_path / "page.html"))
    assert "Learning curves" in path.read_text("utf-8")
    assert len(result.plot("curves").axes) == len(small.panels)
