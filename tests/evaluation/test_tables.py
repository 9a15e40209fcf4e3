"""Tables show what a reader must see, at 80 columns, and escape what they must."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from celo.errors import UsageError
from celo.evaluation.cells import Cell, DataIdentity
from celo.evaluation.scores import ScoreOptions
from celo.evaluation.summary import Summary, summarize
from celo.evaluation.tables import FORMATS, render
from tests.evaluation.synthetic_cells import block, curve, tuned

LONG = "ImageMLP_Cifar10_128x128x128_LayerNorm_Relu"
SHORT = "Conv_Cifar10_32x64x64"
PARTIAL = DataIdentity(
    "cifar10", "partial", "partial (20000 of 50000 train rows, 5000 of 10000 test)", "a" * 64
)
CACHE: dict[str, Any] = {}


def _cells(data: DataIdentity | None = None) -> list[Cell]:
    broken = curve(1.0)
    broken[-1] = np.nan
    cells = []
    for task in (LONG, SHORT):
        finals = [[5.0, 5.0, 5.0], [2.0, 2.1, 2.2], [None, None, 9.0]]
        cells += tuned("adam", task, finals, data=data)
        celo = block("celo", task, [1.0, 1.5, broken], data=data, weights="c" * 64)
        cells += [replace(c, provenance={"label": "celo[bundled]"}) for c in celo]
        cells += block("celo-adam@random", task, [4.0, 4.0, 4.0], data=data, weights="random:0")
    return cells


def _summary(data: DataIdentity | None = None, **options: Any) -> Summary:
    return summarize(
        _cells(data), **{"options": ScoreOptions(ema=0.0), "cache": CACHE, "reps": 50, **options}
    )


@pytest.fixture(scope="module")
def found() -> Summary:
    return _summary()


def _line(text: str, *words: str) -> str:
    (line,) = (line for line in text.splitlines() if all(word in line for word in words))
    return line


@pytest.mark.parametrize("data", [None, PARTIAL])
@pytest.mark.parametrize("reference", ["adam", None])
def test_the_table_fits_80_columns(data: DataIdentity | None, reference: str | None) -> None:
    text = render(_summary(data, reference=reference), "table")
    assert max(map(len, text.splitlines())) <= 80
    assert text == text.strip()


def test_the_table_shows_values_with_intervals_and_failures(found: Summary) -> None:
    iqm, task, *_ = render(found).split("IQM relative to adam [95 % interval]")[1].split("Final")
    (row,) = (r for r in found.aggregate if r.optimizer == "celo" and r.metric == "final_loss_iqm")
    value = f"{row.value:.2f} [{row.low:.2f}, {row.high:.2f}]"
    line = next(line for line in iqm.splitlines() if line.startswith("celo[bundled]"))
    assert value in line
    assert line.endswith("diverged 2/6")
    for words in ("P(improvement)", "optimality gap", "median", "mean"):
        assert words in iqm
    lines = task.splitlines()
    first = lines.index(f"{LONG}: real")
    names = [line.split()[0] for line in lines[first + 1 : first + 4]]
    assert names == ["adam", "celo[bundled]", "celo-adam@random"]
    assert lines[first + 1].split() == ["adam", "2.1", "1.00", "1.00", "lr=0.01", "0/3"]
    assert lines[first + 2].split()[1] == "inf"
    assert lines[first + 2].endswith("diverged 1/3")


def test_costs_and_tuning_trials_are_shown(found: Summary) -> None:
    cost = render(found).split("Cost")[1].split("note:")[0]
    assert _line(cost, "adam ").split() == ["adam", "2", "8", "-", "-", "3", "10"]
    assert _line(cost, "celo[bundled]").split() == ["celo[bundled]", "2", "8", "-", "-", "1", "10"]


def test_failed_runs_are_shown() -> None:
    cells = block("celo", SHORT, [None, 1.0, 2.0])
    text = render(summarize(cells, reference=None, cache=CACHE))
    assert _line(text, "celo", "failed 1/3")
    assert "failed on" in text and "out of memory" in text


def test_without_reference_only_losses_are_shown() -> None:
    text = render(_summary(reference=None))
    assert "relative to" not in text
    assert "score" not in text.split("Final")[1]


def test_the_default_table_goes_without_colours_or_control_characters(found: Summary) -> None:
    assert render(found).replace("\n", "").isprintable()


@pytest.mark.parametrize("format_", ["table", "markdown"])
def test_data_that_are_not_the_real_ones_are_named_in_every_table(format_: str) -> None:
    synthetic = DataIdentity("cifar10", "synthetic", "synthetic", "b" * 64)
    text = render(_summary(synthetic), format_)
    assert text.startswith("SYNTHETIC DATA")
    titles = [line for line in text.splitlines() if "(synthetic data, not publishable)" in line]
    assert len(titles) == 4
    assert f"{SHORT}: synthetic" in text
    text = render(_summary(PARTIAL), format_)
    warning = "(partial data on 2 of 2 tasks, not publishable)"
    assert " ".join(text.split()).count(warning) == 4
    assert PARTIAL.label in text
    assert "data)" not in render(_summary(), format_)


def test_a_label_that_hides_the_kind_does_not_hide_it_here() -> None:
    sly = DataIdentity("lm1b", "substitute", "lm1b=wikitext2", "b" * 64)
    for format_ in ("table", "markdown", "csv"):
        assert "substitute lm1b=wikitext2" in render(_summary(sly), format_)


@pytest.mark.parametrize("format_", ["table", "markdown"])
def test_untrained_weights_are_named(format_: str, found: Summary) -> None:
    text = render(found, format_)
    assert "celo-adam@random has untrained weights" in text
    assert text.count("celo-adam@random") >= 8


def test_notes_are_shown_everywhere() -> None:
    noted = _summary(notes=["B was skipped: its data are missing"])
    assert "note: B was skipped: its data are missing" in render(noted)
    assert "- B was skipped" in render(noted, "markdown")
    value = json.loads(render(noted, "json"))
    assert "B was skipped: its data are missing" in value["provenance"]["notes"]


def test_markdown_is_well_formed_and_says_how_to_repeat_it(found: Summary) -> None:
    text = render(found, "markdown")
    blocks = [b.splitlines() for b in text.split("\n\n") if b.startswith("|")]
    assert len(blocks) == 4
    for lines in blocks:
        assert len({line.count("|") for line in lines}) == 1
        assert set(lines[1]) <= set("|-: ")
    assert f"weights {'c' * 64}" in text
    assert "50 repetitions (rliable" in text
    assert "per task" in text


def test_markdown_escapes_what_would_break_a_row() -> None:
    cells = block("celo@a|b*c", SHORT, [1.0])
    text = render(summarize(cells, reference=None, cache=CACHE), "markdown")
    assert r"celo@a\|b\*c" in text
    assert "a|b" not in text


def test_csv_has_one_row_a_run(found: Summary) -> None:
    rows = list(csv.DictReader(io.StringIO(render(found, "csv"))))
    assert len(rows) == len(found.tasks) == 18
    assert {row["label"] for row in rows if row["optimizer"] == "celo"} == {"celo[bundled]"}
    assert json.loads(rows[0]["hyperparameters"]) == {"lr": 0.01}
    assert float(rows[0]["final_loss"]) == 2.0
    assert {row["status"] for row in rows} == {"done", "diverged"}


def test_json_has_no_infinities(found: Summary) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    json.loads(render(found, "json"), parse_constant=refuse)


def test_unknown_formats_are_refused(found: Summary) -> None:
    assert all(render(found, format_) for format_ in FORMATS)
    with pytest.raises(UsageError, match="'html'"):
        render(found, "html")


@pytest.mark.parametrize("format_", FORMATS)
def test_a_run_without_a_whole_block_is_shown(format_: str) -> None:
    """Its only cell belongs to a block that was interrupted."""
    half = block("adam", "T", [1.0, 2.0, 3.0])[:2]
    text = render(summarize(half, reference=None), format_)
    if format_ == "csv":
        assert text.startswith("run,task,optimizer,seed,") and len(text.splitlines()) == 1
    else:
        assert "incomplete: adam lacks 1 of 1 tasks" in text
