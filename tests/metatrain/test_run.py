"""A run in its folder: interrupted anywhere it ends as it would have, byte for byte."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import signal
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import celo
from celo import files
from celo.errors import InterruptedRunError, StoreError
from celo.metatrain import checkpoints, run, stage
from celo.metatrain.run import DivergedError, Habits, SilentObserver, train
from tests.metatrain.conftest import Small


class Telling(SilentObserver):
    def __init__(self) -> None:
        self.messages: list[str] = []
        self.calls: list[int] = []

    def told(self, message: str) -> None:
        self.messages.append(message)

    def advanced(self, iteration: int, until: int, row: Any) -> None:
        self.calls.append(iteration)


def contents(folder: Path) -> tuple[bytes, list[Any]]:
    """The weights and the log without what a clock measured."""
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    for row in rows:
        del row["time"]
    return (folder / "theta.safetensors").read_bytes(), rows


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[Any]]:
    folder = tmp_path_factory.mktemp("whole") / "run"
    outcome = Small().run(folder)
    assert outcome.iterations == 24 and outcome.non_finite == 0
    return contents(folder)


def test_what_a_run_leaves(small: Small, whole: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    outcome = small.run(folder, habits=Habits(keep_every=10))
    assert contents(folder) == whole
    rows = whole[1]
    assert [row["iteration"] for row in rows] == [5, 10, 15, 20, 24]
    assert [row["iterations"] for row in rows] == [5, 5, 5, 5, 4]
    assert set(rows[0]["family_loss"]) == {"Digits_MLP_32"}
    assert all(np.isfinite(row["loss"]) and row["gradient_norm"] > 0 for row in rows)
    assert rows[0]["loss"] == pytest.approx(np.log(10), abs=0.3)
    theta = celo.load_learned(f"learnable-sgdm@{folder}")[1]
    np.testing.assert_array_equal(theta["log_lr"], outcome.theta["log_lr"])
    assert abs(float(theta["log_lr"] - small.stage.lopt.init(None)["log_lr"])) > 0.1
    kept = sorted(p.name for p in (folder / "thetas").iterdir())
    assert kept == ["000000010.safetensors", "000000020.safetensors"]
    before = (folder / "log.jsonl").read_text()
    assert small.run(folder).loss == outcome.loss  # finished: nothing is done again
    assert (folder / "log.jsonl").read_text() == before


@pytest.mark.parametrize("seed", range(3))
def test_interrupted_anywhere_and_resumed(
    small: Small, whole: Any, tmp_path: Path, seed: int
) -> None:
    """Stops after calls of random sizes; iterations are cut into other calls than before."""
    random = np.random.default_rng(seed)
    for stop in sorted(random.choice(np.arange(1, 24), size=4, replace=False)):
        small.run(tmp_path / "run", until=int(stop))
        log = tmp_path / "run" / "log.jsonl"
        log.write_text(log.read_text() + '{"iteration": 99, "lo')  # torn
    small.run(tmp_path / "run")
    assert contents(tmp_path / "run") == whole


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_keep_everything(
    small: Small, whole: Any, tmp_path: Path, number: signal.Signals
) -> None:
    class Killing(Telling):
        def advanced(self, iteration: int, until: int, row: Any) -> None:
            super().advanced(iteration, until, row)
            if len(self.calls) == 2:
                os.kill(os.getpid(), number)

    handler = signal.getsignal(number)
    observer = Killing()
    with pytest.raises(InterruptedRunError, match=r"interrupted after iteration \d+ of 24"):
        small.run(tmp_path, habits=Habits(keep_every=3), observer=observer)
    assert signal.getsignal(number) is handler
    assert 0 < observer.calls[-1] < 24
    resumed = Telling()
    small.run(tmp_path, observer=resumed)
    assert f"going on from iteration {observer.calls[-1]}" in resumed.messages[0]
    assert contents(tmp_path) == whole


def test_a_damaged_newest_checkpoint_falls_back(small: Small, whole: Any, tmp_path: Path) -> None:
    for until in (5, 10, 15):
        small.run(tmp_path, until=until)
    older, newest = sorted((tmp_path / "checkpoints").iterdir())
    assert (older.stem, newest.stem) == ("000000010", "000000015")
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    observer = Telling()
    small.run(tmp_path, observer=observer)
    assert "000000015.npz is damaged" in observer.messages[0]
    assert contents(tmp_path) == whole


def test_without_a_whole_checkpoint_nothing_is_overwritten(small: Small, tmp_path: Path) -> None:
    small.run(tmp_path, until=5)
    [path] = (tmp_path / "checkpoints").iterdir()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StoreError, match="no checkpoint of .* is whole"):
        small.run(tmp_path)
    assert path.exists()


def test_checkpoints_of_a_newer_celo_are_refused(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "SCHEMA", 2)
    small.run(tmp_path, until=5)
    monkeypatch.undo()
    with pytest.raises(StoreError, match="written by a newer celo"):
        small.run(tmp_path)


def test_another_run_in_the_folder_is_refused(small: Small, tmp_path: Path) -> None:
    small.run(tmp_path / "run", until=1)
    other = stage.open_stage(dataclasses.replace(small.stage.config, seed=3))
    first = stage.initial_theta(other, None)
    with pytest.raises(StoreError, match=r"config.seed: 0 here, 3 asked; init: random:0 here"):
        train(other, first, small.program, tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    written = json.loads(path.read_text())
    path.write_text(json.dumps({**written, "schema": 99}))
    with pytest.raises(StoreError, match="another celo"):
        small.run(tmp_path / "run")
    path.write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        small.run(tmp_path / "run")
    path.unlink()
    with pytest.raises(StoreError, match="holds no run"):
        small.run(tmp_path / "run")
    path.mkdir()
    with pytest.raises(StoreError, match="cannot be read"):
        small.run(tmp_path / "run")


def test_a_full_disk_leaves_the_last_checkpoint(
    small: Small, whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.run(tmp_path, until=5)

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoints, "write_atomically", full)
    with pytest.raises(StoreError, match="the disk is full") as error:
        small.run(tmp_path, until=10)
    assert "the last checkpoint is safe" in str(error.value)
    monkeypatch.undo()
    assert files.write_atomically is checkpoints.write_atomically
    small.run(tmp_path)
    assert contents(tmp_path) == whole


def test_non_finite_meta_gradients_stop_a_run(small: Small, spoilt: Small, tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="3 meta-gradients in a row .* at iteration 9") as error:
        spoilt.run(tmp_path)
    assert "smaller --outer-lr" in str(error.value)
    # The weights are those before the streak.
    small.run(tmp_path / "good", until=6)
    found, good = (
        celo.load_learned(f"learnable-sgdm@{p}")[1] for p in (tmp_path, tmp_path / "good")
    )
    jax.tree.map(np.testing.assert_array_equal, found, good)


def test_the_program_is_compiled_once(small: Small, tmp_path: Path) -> None:
    """However iterations are cut into calls, and for another start as well."""
    compiled: list[str] = []

    def listen(name: str, *arguments: Any, **keywords: Any) -> None:
        if "backend_compile" in name:
            compiled.append(name)

    small.run(tmp_path / "warm", until=3)  # whatever surrounds the program
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        small.run(tmp_path / "a", until=7)
        small.run(tmp_path / "a", until=11)
    finally:
        jax._src.monitoring.unregister_event_duration_listener(listen)
    assert compiled == []


def test_a_callback_and_loggers_hear_of_it(small: Small, tmp_path: Path) -> None:
    heard, logged = [], []
    habits = Habits(
        call_every=8,
        callback=lambda iteration, path: heard.append((iteration, path.exists())),
        loggers=(lambda iteration, row: logged.append(iteration),),
    )
    small.run(tmp_path, habits=habits)
    assert heard == [(8, True), (16, True), (24, True)]
    assert logged == [5, 10, 15, 20, 24]


def test_mean_of_the_last_lines() -> None:
    rows = [{"iterations": 40, "loss": 9.0}, {"iterations": 40, "loss": 1.0}]
    rows.append({"iterations": 20, "loss": 4.0})
    assert run.last_loss(rows) == pytest.approx(2.0)
    assert np.isnan(run.last_loss([]))
