"""Short runs and other schedules say that they are not for publication, everywhere."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

import celo
from celo import registry
from celo.evaluation.cells import Schedule
from celo.evaluation.publishing import PUBLISHED, not_publishable
from celo.evaluation.requests import read_requests
from celo.evaluation.store import Run
from celo.evaluation.summary import summarize
from celo.evaluation.tables import FORMATS, render
from tests.evaluation.disk import OPTIMIZERS, SETTINGS, Known, made_up
from tests.evaluation.example_cells import KEY, cell, key


@pytest.mark.parametrize(
    ("schedule", "horizons", "reasons"),
    [
        (PUBLISHED, (), ()),
        (Schedule(10_000), (), ()),
        (Schedule(200), (), ("200 steps, published: 2000",)),
        (Schedule(500), (500,), ()),
        (Schedule(2000), (10_000,), ("2000 steps, published: 10000",)),
        (Schedule(2000), (0,), ("its suite is for trying things out",)),
        (Schedule(2000, eval_every=50), (), ("--eval-every 50, published: 10",)),
        (
            Schedule(1999, 10, 1, 2),
            (2000,),
            (
                "1999 steps, published: 2000",
                "--eval-batches 1, published: 5",
                "--last-eval-batches 2, published: 10",
            ),
        ),
    ],
)
def test_reasons(schedule: Schedule, horizons: tuple[int, ...], reasons: tuple[str, ...]) -> None:
    assert not_publishable(schedule, horizons) == reasons


def test_every_output_says_so() -> None:
    alone = key(grid=(), entry=KEY.optimizer, block_seeds=(0,))
    short = summarize([cell(cell_key=alone)], reference=None)
    reason = "20 steps, published: 2000"
    for format_ in FORMATS:
        assert reason in render(short, format_)
    titles = [line for line in render(short).splitlines() if "(not publishable)" in line]
    assert len(titles) == 2  # every table
    assert json.loads(render(short, "json"))["not_publishable"] == [reason]
    [row] = csv.DictReader(io.StringIO(render(short, "csv")))
    assert row["not_publishable"] == reason


def test_the_published_schedule_is_not_marked() -> None:
    changes = {"schedule": PUBLISHED, "grid": (), "entry": KEY.optimizer, "block_seeds": (0,)}
    whole = summarize([cell(cell_key=key(**changes))], reference=None)
    assert whole.not_publishable == ()
    for format_ in FORMATS:
        assert "PUBLISHABLE" not in render(whole, format_)
    assert json.loads(render(whole, "json"))["not_publishable"] == []
    assert "(not publishable)" not in render(whole)


def test_the_run_folder_says_so_and_remembers_the_suite(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with Known(made_up(folder)).instead():
        celo.evaluate(OPTIMIZERS, output=folder, **SETTINGS)
    marked = json.loads((folder / "run.json").read_text())["not_publishable"]
    assert marked[0] == "10 steps, published: 2000" and len(marked) == 3
    assert [r.publishable_steps for r in read_requests(Run.open(folder))] == [2000]


def test_suites_carry_their_horizon() -> None:
    assert registry.suite("quickstart").record.publishable_steps == 0
    mini = registry.suite("mlp-mini").record
    assert (mini.publishable_steps, mini.steps) == (None, 2000)
