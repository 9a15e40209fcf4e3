"""`celo eval --dry-run` and `--shard`: what is said; results that are known stand for computing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from celo.cli.main import main
from tests.evaluation.disk import OPTIMIZERS, Known, made_up

RUN = [
    *("eval", "-o", OPTIMIZERS, "--task", "Digits_MLP_32", "--steps", "10", "--reference", "none"),
    *("--seeds", "0,1,3", "--eval-batches", "1", "--last-eval-batches", "1"),
]


@pytest.fixture
def known(tmp_path: Path) -> Iterator[Known]:
    known = Known(made_up(tmp_path / "never"))
    with known.instead():
        yield known


class Said:
    def __init__(self, code: int, out: str, err: str):
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    def run(*arguments: str) -> Said:
        with pytest.raises(SystemExit) as left:
            main([*RUN, "--output", str(tmp_path / "run"), *arguments])
        return Said(int(left.value.code or 0), *capsys.readouterr())

    return run


def test_seeds_are_numbers_and_ranges(say) -> None:
    said = say("--seeds", "7,0-2", "--dry-run", "--format", "json")
    assert said.code == 0, said.err
    assert {s for b in json.loads(said.out)["blocks"] for s in b["seeds"]} == {0, 1, 2, 7}


def test_a_dry_run_says_what_would_be_done_and_does_nothing(tmp_path: Path) -> None:
    arguments = ["eval", "-o", "sgd:lr=0.1,adam,celo@random:1", "--suite", "quickstart"]
    arguments += ["--dry-run", "--workers", "2", "--shard", "1/2", "--output", "run"]
    code = f"""
import sys
from celo.cli.main import main
try:
    main({arguments!r})
finally:
    print([m for m in ("jax", "haiku", "rliable") if m in sys.modules], file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"
    assert list(tmp_path.iterdir()) == []
    assert "shard 1/2 of 12 blocks" in done.stdout and "with 2 workers at best" in done.stdout
    assert "time from the model: 6 x parameters" in done.stdout
    assert "not publishable: its suite is for trying things out" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_dry_run_knows_what_is_there(known: Known, say, tmp_path: Path) -> None:
    assert say("--shard", "1/2").code == 0 and len(known.computed) == 3
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    said = say("--dry-run", "--format", "json")
    value = json.loads(said.out)
    assert (said.code, value["schema"], value["run"]) == (0, 1, str(tmp_path / "run"))
    assert sorted(block["present"] for block in value["blocks"]) == [False, False, True, True]
    left = [block for block in value["blocks"] if not block["present"]]
    assert value["seconds_one_at_a_time"] == sum(block["seconds"] for block in left) > 0
    assert {block["seconds_from"] for block in left} == {"scaled"}
    assert value["not_publishable"][0] == "10 steps, published: 2000"
    table = say("--dry-run").out
    assert "4 blocks, 6 runs" in table and "2 blocks are left" in table
    assert "time from the model, scaled by this folder's recorded cells" in table
    quiet = say("--dry-run", "--format", "quiet")
    assert (quiet.code, quiet.out) == (0, "")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == files
    fresh = json.loads(say("--dry-run", "--fresh", "--format", "json").out)
    assert not any(block["present"] for block in fresh["blocks"])
    assert say().code == 0
    assert "nothing is left to compute" in say("--dry-run").out
    other = say("--dry-run", "--steps", "30")
    assert other.code == 1 and "steps: 10 here, 30 asked" in other.err


def test_a_task_that_would_be_skipped_is_said(say, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CELO_DATA_DIR", raising=False)
    monkeypatch.setenv("CELO_CACHE_DIR", str(tmp_path / "cache"))
    said = say("--task", "FastVelo_mnist", "--dry-run")
    assert said.code == 0 and "would be skipped: FastVelo_mnist: " in said.err


def test_a_shard_says_what_it_did(known: Known, say, tmp_path: Path) -> None:
    empty = say("--shard", "7/7", "--format", "json")
    value = json.loads(empty.out)
    assert (empty.code, value["shard"], value["blocks"]) == (0, "7/7", 0)
    assert value["complete"] is True and value["blocks_of_all_shards"] == 4
    assert known.computed == []
    first = say("--shard", "3/3")
    assert (first.code, first.out) == (0, "")
    assert "shard 3/3: 2 of its 2 blocks are done (4 in all shards)" in first.err
    assert f"when all shards are: celo report {tmp_path / 'run'}" in first.err
    assert say("--shard", "3/3", "--format", "quiet").err == ""


def test_a_shard_whose_block_failed_says_why(known: Known, say, monkeypatch) -> None:
    from celo.evaluation.recording import Failed

    monkeypatch.setattr(known, "compute", lambda block, listener: Failed("no luck", 3))
    said = say("--shard", "1/4", "--format", "json")
    value = json.loads(said.out)
    assert said.code == 3 and value["complete"] is False
    [failed] = value["failed"]
    assert failed["reason"] == "no luck" and failed["task"] == "Digits_MLP_32"
    assert "0 of its 1 blocks are done" in say("--shard", "1/4").err
