"""What the page shows is in the JSON, and what must be said is said."""

from __future__ import annotations

import json
import math
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from celo.cli.main import cli, main
from celo.evaluation.cells import DataIdentity
from celo.evaluation.store import Run, RunSettings
from celo.report.document import Sources, full, headlines, reproduction, split_metric, warnings
from celo.report.tables import heat_maps, number
from tests.evaluation.synthetic_cells import block, tuned
from tests.report.conftest import AWKWARD, Compared, compared

SUBSTITUTE = DataIdentity("lm1b", "substitute", "substitute wikitext2", "a" * 64)


class _Cells(HTMLParser):
    """Texts of all table cells that hold figures."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.open = False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open = tag == "td"

    def handle_endtag(self, tag: str) -> None:
        self.open = self.open and tag != "td"

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.append(data)


def _numbers(value: Any) -> list[float]:
    if isinstance(value, bool):
        return []
    if isinstance(value, (int, float)):
        return [float(value)]
    if isinstance(value, dict):
        return [x for item in value.values() for x in _numbers(item)]
    if isinstance(value, (list, tuple)):
        return [x for item in value for x in _numbers(item)]
    return []


def test_every_number_of_the_tables_is_in_the_json(small: Compared, page_file: Path) -> None:
    html = page_file.read_text("utf-8")
    tables = html[: html.index('<section id="provenance"')]
    parser = _Cells()
    parser.feed(tables)
    known = np.array(_numbers(full(small.summary, small.panels)))
    known = known[np.isfinite(known)]
    shown = [
        text
        for cell in parser.texts
        for text in re.findall(r"(?<![\w.])-?\d+\.?\d*(?:e[-+]\d+)?", cell.replace("\u202f", ""))
    ]
    assert len(shown) > 300
    for text in shown:
        mantissa = text.partition("e")[0]
        unit = 10.0 ** -len(mantissa.partition(".")[2]) * 10.0 ** float(text.partition("e")[2] or 0)
        # Whole numbers of four significant digits and more are whole already.
        assert np.min(np.abs(known - float(text))) <= 0.51 * unit, text


def test_the_json_of_the_page_is_that_of_the_command(small: Compared, page_file: Path) -> None:
    html = page_file.read_text("utf-8")
    (text,) = re.findall(r'<script type="application/json" id="report">(.*?)</script>', html)
    value = json.loads(text)
    expected = full(small.summary, small.panels)
    del expected["details"]["curves"]
    assert value["aggregate"] == json.loads(json.dumps(expected["aggregate"]))
    assert set(value["details"]) >= {"means", "costs", "profiles", "failures", "reproduce"}
    assert value["details"]["means"] and value["details"]["profiles"]


def test_curves_of_the_json_are_whole(small: Compared) -> None:
    value = full(small.summary, small.panels)["details"]["curves"]
    line = small.panels[0].lines[0]
    assert value[0]["lines"][0]["ys"] == line.ys.tolist()
    assert len(value) == 2 and len(value[0]["lines"]) == 3 * 10


def test_metrics_are_taken_apart() -> None:
    assert split_metric("final_loss_iqm") == ("final_loss", "iqm")
    assert split_metric("speedup_optimality_gap") == ("speedup", "optimality_gap")
    assert split_metric("algoperf_score") == ("algoperf_score", "")
    assert split_metric("velo_speedup_last_iqm", ("speedup", "velo_speedup")) == (
        "velo_speedup",
        "last_iqm",
    )


def test_metrics_of_others_become_headlines(small: Compared) -> None:
    rows = tuple(
        replace(row, metric="algoperf_score", value=0.5, low=None, high=None)
        for row in small.summary.aggregate
        if row.metric == "speedup_iqm"
    )
    summary = replace(small.summary, aggregate=(*small.summary.aggregate, *rows))
    assert [h.title for h in headlines(summary)] == [
        "final loss IQM",
        "speedup IQM",
        "algoperf score",
    ]


def test_data_that_are_not_the_real_ones_are_loud(small: Compared) -> None:
    fine = replace(small.summary, complete=True, not_publishable=())
    assert warnings(fine) == []
    assert "incomplete" in warnings(small.summary)[-1]
    short = replace(fine, not_publishable=("20 steps, not 2000", "2 seeds"))
    assert warnings(short) == ["not publishable: 20 steps, not 2000; 2 seeds"]
    found = compared(block("celo@random", "T", [1.0] * 3, data=SUBSTITUTE), reference=None)
    said = warnings(found.summary)
    assert said[0].startswith("substitute data: not comparable")
    assert "celo@random has untrained weights" in said


@pytest.mark.parametrize("kind", ["substitute", "synthetic", "partial"])
def test_the_page_says_so_in_every_title(kind: str) -> None:
    from celo.report.page import page

    data = DataIdentity("mnist", kind, f"{kind} rows", "a" * 64)
    cells = [*tuned("adam", "T", [[2.0] * 3], grid=(0.1,), data=data)]
    found = compared([*cells, *block("celo", "T", [1.0] * 3, data=data)])
    html = page(found.summary, found.panels)
    mark = f"({kind} data" if kind != "partial" else "(partial data on 1 of 1 tasks"
    for part in (
        "<title>",
        "<h1>",
        "<figcaption>final loss IQM",
        "<figcaption>Quality",
        "<summary>speedup",
    ):
        assert mark in html.partition(part)[2].partition("</")[0], part
    assert '<div class="warning" role="alert">' in html
    assert f"{kind} rows" in html


def test_the_commands_to_reproduce_it_are_understood(small: Compared) -> None:
    commands = reproduction(small.summary, Sources(("runs/a b",), "lm1b=wikitext2"))
    for command in commands:
        assert _parameters(command)
    words = shlex.split(commands[0])
    assert AWKWARD in words and words[words.index("--data") + 1] == "lm1b=wikitext2"
    assert words[words.index("--seeds") + 1] == "0,1,2"
    assert shlex.split(commands[1])[2] == "runs/a b"


ASKED = [
    [],
    ["--metrics", "final_loss,algoperf:r_max=4", "--metrics", "speedup"],
    ["--with", "published", "--horizon", "100", "--lenient"],
    ["--split", "test", "--ema", "0.1234567", "--selection", "per-seed", "--reference", "none"],
    ["--data-kind", "synthetic", "--metrics", "all"],
]


@pytest.mark.parametrize("flags", ASKED)
def test_a_report_shows_the_request_it_was_made_by(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    synthetic = DataIdentity("mnist", "synthetic", "synthetic", "b" * 64)
    runs = {
        "real": [*tuned("adam", "T", [[4.0] * 3] * 3), *block("celo", "T", [1.0] * 3)],
        "synthetic": [
            *block("adam", "U", [3.0] * 3, data=synthetic),
            *block("celo", "U", [2.0] * 3, data=synthetic),
        ],
    }
    for data, cells in runs.items():
        run = Run.create(tmp_path / data, RunSettings(cells[0].key.schedule, data=data))
        for cell in cells:
            run.write(cell)
    folders = [str(tmp_path / data) for data in runs]
    asked = [*(folders if "--data-kind" in flags else folders[:1]), *flags]
    with pytest.raises(SystemExit) as left:
        main(["report", *asked, "--format", "json", "--curves"])
    assert not left.value.code
    evaluation, report = map(
        _parameters, json.loads(capsys.readouterr().out)["details"]["reproduce"]
    )
    expected = _parameters(shlex.join(["celo", "report", *asked, "--output", "report.html"]))
    expected["runs"] = (tmp_path / ("synthetic" if "--data-kind" in flags else "real"),)
    expected["reference"] = expected["reference"] or "adam"
    assert report == expected
    assert evaluation["output"] == expected["runs"][0]
    assert evaluation["data"] == ("synthetic" if "--data-kind" in flags else None)
    assert evaluation["reference"] == expected["reference"]


def _parameters(command: str) -> dict[str, Any]:
    """What click reads of a command."""
    program, name, *arguments = shlex.split(command)
    assert program == "celo"
    found = cli.get_command(None, name)  # pyright: ignore[reportArgumentType]
    assert found is not None
    return dict(found.make_context(name, arguments).params)


def test_a_reference_without_results_is_not_asked_for_again() -> None:
    summary = compared(block("celo", "T", [1.0] * 3)).summary
    assert summary.reference == "adam"
    for command in reproduction(summary, Sources()):
        assert _parameters(command)["reference"] == "none"


def test_heat_maps_mark_what_was_lost(small: Compared) -> None:
    means = full(small.summary, small.panels)["details"]["means"]
    maps = {m["field"]: m for m in heat_maps(small.summary, means)}
    assert list(maps) == ["final_loss", "speedup", "loss"]
    names = list(small.summary.labels)
    first = maps["final_loss"]["rows"][0]["cells"]
    assert (first[names.index("adam")].text, first[names.index("adam")].level) == ("1.00", "")
    broken = first[names.index("broken")]
    assert (broken.text, broken.level, broken.title) == ("0.00†", "w5", "3 of 3 failed")
    assert maps["loss"]["rows"][0]["cells"][names.index("broken")].text == "∞†"
    assert maps["final_loss"]["rows"][1]["cells"][names.index("broken")].level == "none"


def test_numbers_as_text() -> None:
    assert [number(x) for x in (None, math.inf, 3.0, 1234567, 0.123456, 1.5e-7)] == [
        *("–", "∞", "3", "1\u202f234\u202f567", "0.1235", "1.5e-07")
    ]
