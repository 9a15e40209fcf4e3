"""`celo meta-train` in processes of its own: killed, resumed, refused, and into the zoo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import celo as package
from celo.errors import UsageError, WeightsError
from celo.metatrain import watching
from celo_zoo import add
from tests.cli.process import CELO, celo

SMALL = [
    *("--plugin", "learnable-sgdm", "--suite", "digits", "--particles", "2", "--trunc", "4"),
    *("--unroll", "3:7", "--sigma", "0.1", "--outer-lr", "0.05", "--log-every", "5"),
]
SETTINGS: dict[str, Any] = {
    "suite": "digits",
    "particles": 2,
    "trunc": 4,
    "unroll": "3:7",
    "sigma": 0.1,
    "outer_lr": 0.05,
    "iterations": 12,
    "log_every": 5,
}


def contents(folder: Path) -> tuple[bytes, list[Any]]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    for row in rows:
        del row["time"]
    return (folder / "theta.safetensors").read_bytes(), rows


@pytest.mark.slow
def test_killed_and_resumed_it_ends_the_same(tmp_path: Path) -> None:
    iterations = ["--iterations", "4000", "--checkpoint-minutes", "0.001"]
    whole = celo("meta-train", *SMALL, *iterations, "--output", "whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    assert whole.stdout.strip() == "whole" and "meta-loss at the end" in whole.stderr
    for _ in range(3):
        running = subprocess.Popen(
            [CELO, "meta-train", *SMALL, *iterations, "--output", "killed"],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        folder = tmp_path / "killed" / "checkpoints"
        before = set(folder.glob("*.npz"))
        deadline = time.monotonic() + 120
        while not set(folder.glob("*.npz")) - before and time.monotonic() < deadline:
            if running.poll() is not None:
                break
            time.sleep(0.01)
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
    done = celo("meta-train", *SMALL, *iterations, "--output", "killed", cwd=tmp_path)
    assert done.returncode == 0 and "going on from iteration" in done.stderr
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_dry_run_says_what_would_be_done(tmp_path: Path) -> None:
    done = celo(
        *("meta-train", "--recipe", "celo-laptop", "--dry-run", "--data", "synthetic"), cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "celo:train_phase=1 phase 1: learn the per-parameter network" in done.stdout
    assert "159 of 37,089 weights" in done.stdout and "the weights of stage 1" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert not list(tmp_path.iterdir())
    done = celo("meta-train", "--recipe", "x", "--config", "y", cwd=tmp_path)
    assert done.returncode == 2 and "exclude each other" in done.stderr


@pytest.mark.slow
def test_stages_starts_and_selection(tmp_path: Path) -> None:
    recipe = tmp_path / "two.toml"
    recipe.write_text(
        'name = "two"\nplugin = "learnable-sgdm"\n[settings]\n'
        + "".join(f"{k} = {json.dumps(v)}\n" for k, v in SETTINGS.items())
        + "[[stages]]\nrestarts = 3\nrung = 5\n[[stages]]\nkeep_every = 6\n"
        + '[selection]\ntasks = ["Digits_MLP_32"]\nsteps = 20\n'
    )
    result = package.meta_train(recipe=recipe, output=tmp_path / "run")
    summary = json.loads((result.folder / "summary.json").read_text())
    assert summary["iterations"] == [12, 12] and len(summary["selection"]) == 2
    assert summary["chosen"] == min(summary["selection"], key=summary["selection"].get)
    chosen = (result.folder / summary["chosen"]).read_bytes()
    assert result.weights.read_bytes() == chosen
    starts = sorted((result.folder / "stage-1").iterdir())
    counts = [len((s / "log.jsonl").read_text().splitlines()) for s in starts]
    assert len(starts) == 3 and sorted(counts)[0] == 1  # one stopped at the first rung
    first = json.loads((result.folder / "stage-2" / "run.json").read_text())["init"]
    assert len(first) == 64  # the second stage starts from what the first made
    entry = add(result.folder, tmp_path / "zoo", "mine", licence="mit")
    card = (entry.folder / "card.toml").read_text()
    assert "recipe two; phase 1: 12 iterations" in card and "seed 0; from random weights;" in card
    assert 'licence = "mit"' in card
    evaluation = {"aggregate": [dict.fromkeys(("metric", "split", "optimizer", "value"), "x")]}
    with pytest.raises(UsageError, match="this is no evaluation"):
        add(result.folder, tmp_path / "zoo", "other", evaluation=evaluation)
    with pytest.raises(UsageError, match="exists already"):
        add(result.folder, tmp_path / "zoo", "mine")
    with pytest.raises(UsageError, match="is no name of an entry"):
        add(result.folder, tmp_path / "zoo", "Mine!")
    with pytest.raises(WeightsError, match="no finished meta-training"):
        add(tmp_path, tmp_path / "zoo", "none")
    shown = celo(
        *("zoo", "add", str(result.folder), "--name", "again", "--licence", "mit"),
        CELO_ZOO_PATH=str(tmp_path / "zoo"),
    )
    assert shown.returncode == 0, shown.stderr
    assert "learnable-sgdm@again" in shown.stderr


def test_evaluations_meanwhile_and_their_mistakes(tmp_path: Path) -> None:
    settings = {**SETTINGS, "iterations": 4}
    (tmp_path / "suite").mkdir()
    with pytest.raises(UsageError, match="both how often and on what"):
        package.meta_train("learnable-sgdm", evaluate_every=3, output=tmp_path / "a", **settings)
    with pytest.raises(UsageError, match="--eval-every must be at least 1"):
        package.meta_train(
            *("learnable-sgdm",),
            evaluate_every=0,
            evaluate_suite="digits",
            output=tmp_path / "a",
            **settings,
        )
    with pytest.raises(UsageError, match="--workers must be at least 0, got -1"):
        package.meta_train("learnable-sgdm", workers=-1, output=tmp_path / "a", **settings)
    with pytest.raises(UsageError, match="--devices must be from 1 to"):
        package.meta_train("learnable-sgdm", devices=99, output=tmp_path / "a", **settings)
    heard = []

    def evaluate(texts: Any, tasks: Any, steps: int, seeds: Any, folder: Path, workers: int) -> Any:
        assert workers == 1
        heard.append((texts, tasks, steps, seeds))
        return {text: dict.fromkeys(tasks, 1.5) for text in texts}

    from celo.metatrain.plan import make_plan

    plan = make_plan(plugin="learnable-sgdm", output=tmp_path / "b", **settings)
    watching.watched(plan, evaluate=evaluate, evaluate_every=2, evaluate_suite="digits")
    lines = (tmp_path / "b" / "evaluations.jsonl").read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in lines] == [2, 4]
    assert heard[0][0] == [f"learnable-sgdm@{tmp_path / 'b' / 'theta.safetensors'}"]
    assert heard[0][1:] == (("Digits_MLP_32",), 200, (0,))
