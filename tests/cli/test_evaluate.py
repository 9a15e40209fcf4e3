"""`celo eval` as users run it, in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.process import CELO, celo
from tests.shared_folder import checkpoints_dir

QUICK = [
    *("eval", "--task", "Digits_MLP_32", "--steps", "20", "--eval-batches", "1"),
    *("--last-eval-batches", "1", "--seeds", "0", "--reference", "none"),
]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--optimizers", "adamm", "--suite", "quickstart"], "unknown optimizer 'adamm'"),
        (["--optimizers", "celo", "--suite", "fast"], "unknown suite 'fast'"),
        (["--optimizers", "celo", "--task", "Digits"], "unknown task 'Digits'"),
        (["--optimizers", "adam:rate=1", "--suite", "quickstart"], "no hyperparameter 'rate'"),
        (["--optimizers", "adam:lr=-1", "--suite", "quickstart"], "at least 0"),
        (["--optimizers", "", "--suite", "quickstart"], "no optimizer was given"),
        (["--optimizers", "sgd"], "no task was given"),
        (["--optimizers", "sgd", "--suite", "quickstart", "--seeds", ""], "seeds is empty"),
        (["--optimizers", "sgd", "--suite", "quickstart", "--seeds", "0,0"], "repeated: 0"),
        (["--optimizers", "sgd", "--suite", "quickstart", "--seeds", "a"], "whole numbers"),
        (["--optimizers", "sgd", "--suite", "quickstart", "--steps", "0"], "at least 1, got 0"),
        (["--optimizers", "sgd", "--suite", "quickstart", "--steps", "-3"], "at least 1, got -3"),
        (["--optimizers", "sgd", "--suite", "quickstart", "--steps", "x"], "not a valid integer"),
        (["--optimizers", "sgd", "--suite", "quickstart", "--config", "no.toml"], "cannot read"),
    ],
)
def test_wrong_requests(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = celo("eval", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr and done.stdout == ""
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_missing_data_say_where_to_put_them(tmp_path: Path) -> None:
    done = celo("eval", "--optimizers", "sgd", "--task", "FastVelo_mnist", cwd=tmp_path)
    assert done.returncode == 1
    assert "mnist.npz" in done.stderr and "CELO_DATA_DIR" in done.stderr


def test_missing_weights_offline_say_how_to_get_them(tmp_path: Path) -> None:
    done = celo(*QUICK, "--optimizers", "celo", cwd=tmp_path, CELO_ZOO_PATH=str(tmp_path))
    assert done.returncode == 1
    assert "celo zoo pull celo" in done.stderr and "Traceback" not in done.stderr


def test_weights_of_another_optimizer_are_refused(tmp_path: Path) -> None:
    path = checkpoints_dir() / "celo-adam" / "theta.state"
    done = celo(*QUICK, "--optimizers", f"celo@{path},sgd:lr=0.1", cwd=tmp_path)
    assert done.returncode == 3  # the other optimizer is done
    assert "ff_mod_stack" in done.stderr
    assert "sgd:lr=0.1" in done.stdout


def test_an_unwritable_folder_is_said(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    done = celo(*QUICK, "--optimizers", "sgd:lr=0.1", "--output", str(file / "run"))
    assert done.returncode == 1
    assert "cannot write to" in done.stderr and "--output" in done.stderr


def test_another_horizon_needs_another_folder(tmp_path: Path) -> None:
    run = [*QUICK, "--optimizers", "sgd:lr=0.1", "--output", str(tmp_path / "run")]
    assert celo(*run).returncode == 0
    other = [*run, "--steps", "30"]
    refused = celo(*other)
    assert refused.returncode == 1
    assert "steps: 20 here, 30 asked" in refused.stderr
    fresh = celo(*other, "--fresh")
    assert fresh.returncode == 0 and "run.before-1" in fresh.stderr
    assert (tmp_path / "run.before-1" / "run.json").exists()


def test_json_and_resume(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text(
        'optimizers = ["sgd:lr=0.1"]\ntasks = ["Digits_MLP_32"]\nsteps = 30\nseeds = [0, 1, 2]\n'
        'reference = "sgd:lr=0.1"\neval_batches = 1\nlast_eval_batches = 1\n'
    )
    run = ["eval", "--config", str(config), "--format", "json", "--output", str(tmp_path / "run")]
    first = celo(*run)
    assert first.returncode == 0, first.stderr
    value = json.loads(first.stdout)
    assert value["schema"] == 1 and value["complete"] is True
    assert {"run", "aggregate", "tasks", "cost", "provenance"} <= value.keys()
    iqm = [row for row in value["aggregate"] if row["metric"] == "final_loss_iqm"]
    assert [row["value"] for row in iqm] == [1.0]
    again = celo(*run, JAX_PLATFORMS="no-such-platform")  # JAX would fail if it were used
    assert again.returncode == 0 and again.stdout == first.stdout
    reported = celo(
        "report", str(tmp_path / "run"), "--format", "json", "--reference", "sgd:lr=0.1"
    )
    for part in ("aggregate", "tasks", "run"):
        assert json.loads(reported.stdout)[part] == value[part]


def test_a_failing_optimizer_leaves_the_rest(bad_plugins: Path, tmp_path: Path) -> None:
    done = celo(*QUICK, "--optimizers", "raises,sgd:lr=0.1", cwd=tmp_path)
    assert done.returncode == 3
    assert "no more ideas" in done.stderr and "sgd:lr=0.1" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_keeps_what_is_finished(tmp_path: Path, number: signal.Signals) -> None:
    run = ["eval", "--optimizers", "sgd:lr=0.1", "--reference", "none", "--seeds", "0,3,6"]
    run += ["--task", "Digits_MLP_32", "--steps", "1000000", "--output", str(tmp_path / "run")]
    process = subprocess.Popen(
        [CELO, *run], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stderr is not None
    for line in process.stderr:
        if " step " in line:
            break
    process.send_signal(number)
    began = time.monotonic()
    stdout, stderr = process.communicate(timeout=60)
    assert time.monotonic() - began < 20
    assert process.returncode == 130, stderr
    assert stdout == "" and "the same command goes on" in stderr
    assert not list((tmp_path / "run").rglob("*.part"))
