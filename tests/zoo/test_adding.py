"""Entries made of meta-trainings: what is refused before anything is written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from celo.cli.zoo import command
from celo.errors import UsageError, WeightsError
from celo.metatrain.config import StageConfig
from celo_zoo import add, load_weights, write_safetensors


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """As much of a finished run as `add` reads."""
    folder = tmp_path / "run"
    folder.mkdir()
    summary = {
        "recipe": "two",
        "stages": [{"config": StageConfig("learnable-sgdm").to_json()}],
        "iterations": [12],
        "losses": [1.5],
        "chosen": "last",
        "device_hours": 0.1,
        "runs": ["."],
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    identity = {"tasks": ["T"], "data": {"digits": "ab"}, "init": "random:0"}
    (folder / "run.json").write_text(json.dumps(identity))
    (folder / "log.jsonl").write_text("")
    write_safetensors(folder / "theta.safetensors", {"a": np.ones(2, np.float32)})
    return folder


def test_names_and_folders_that_cannot_be(run: Path, tmp_path: Path) -> None:
    (tmp_path / "zoo" / "taken").mkdir(parents=True)
    with pytest.raises(UsageError, match="'Mine!' is no name of an entry"):
        add(run, tmp_path / "zoo", "Mine!")
    with pytest.raises(UsageError, match="taken exists already"):
        add(run, tmp_path / "zoo", "taken")
    (run / "log.jsonl").unlink()
    with pytest.raises(WeightsError, match="holds no finished meta-training: .*log.jsonl"):
        add(run, tmp_path / "zoo", "mine")


def test_only_what_is_bundled_has_the_name_of_published_weights(
    run: Path, tmp_path: Path, bundled: Path
) -> None:
    with pytest.raises(UsageError, match="'celo2' is the name of published weights"):
        add(run, tmp_path / "zoo", "celo2")
    arguments = ["add", str(run), "--name", "celo2", "--to", str(bundled), "--licence", "x"]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0 and "learnable-sgdm@bundled:celo2" in done.stderr
    assert load_weights("celo2").label == "celo2[bundled]"


def test_long_curves_are_thinned(run: Path, tmp_path: Path) -> None:
    for count, step in ((399, 1), (400, 1), (401, 2), (1000, 3)):
        lines = [json.dumps({"iteration": i, "loss": 1.0}) for i in range(1, count + 1)]
        (run / "log.jsonl").write_text("".join(f"{line}\n" for line in lines))
        entry = add(run, tmp_path / str(count), "mine")
        kept = (entry.folder / "curves.jsonl").read_text().splitlines()
        assert kept[-1] == lines[-1] and kept == lines[(count - 1) % step :: step]
        assert len(kept) <= 400


def test_numbers_that_are_not_finite_make_no_entry(run: Path, tmp_path: Path) -> None:
    (run / "theta.safetensors").unlink()
    write_safetensors(run / "theta.safetensors", {"a": np.array([1, np.inf], np.float32)})
    with pytest.raises(WeightsError, match="holds numbers that are not finite: a"):
        add(run, tmp_path / "zoo", "mine")
    assert not (tmp_path / "zoo").exists()


def test_an_evaluation_has_its_table(run: Path, tmp_path: Path) -> None:
    evaluation = {"aggregate": [{"metric": "final_loss_iqm", "split": "train"}]}
    with pytest.raises(UsageError, match="this is no evaluation: '[a-z]+' is missing"):
        add(run, tmp_path / "zoo", "mine", evaluation=evaluation)
    assert not (tmp_path / "zoo").exists()
    entry = add(run, tmp_path / "zoo", "mine", licence="mit")
    card = (entry.folder / "card.toml").read_text()
    assert "recipe two; phase 1: 12 iterations" in card and 'licence = "mit"' in card


@pytest.mark.parametrize(
    ("init", "said"),
    [
        ("random:0", "seed 0; from random weights; meta-loss"),
        ("momentum:0", "seed 0; from a hand-made optimizer (normalised momentum); meta-loss"),
        ("925e3eb4b02f" + 52 * "0", "seed 0; from weights 925e3eb4b02f; meta-loss"),
    ],
)
def test_the_card_says_where_it_started(run: Path, tmp_path: Path, init: str, said: str) -> None:
    identity = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**identity, "init": init}))
    assert said in (add(run, tmp_path / "zoo", "mine").folder / "card.toml").read_text()


def test_the_command_wants_a_folder_and_json(tmp_path: Path) -> None:
    arguments = ["add", str(tmp_path), "--name", "mine"]
    error = CliRunner().invoke(command, arguments).exception
    assert isinstance(error, UsageError) and "no folder of entries was named" in error.message
    assert "CELO_ZOO_PATH" in (error.hint or "")
    evaluation = tmp_path / "eval.json"
    evaluation.write_text("a table")
    arguments += ["--to", str(tmp_path / "zoo"), "--evaluation", str(evaluation)]
    error = CliRunner().invoke(command, arguments).exception
    assert isinstance(error, UsageError) and "eval.json is no JSON" in error.message
    assert not (tmp_path / "zoo").exists()
