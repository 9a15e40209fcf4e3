"""Starts in processes of their own: the same numbers, interrupted and killed."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from celo.errors import CeloError, InterruptedRunError, UsageError
from celo.metatrain import side_by_side
from celo.metatrain.checkpoints import read_checkpoint
from celo.metatrain.plan import make_plan
from celo.metatrain.run import DivergedError, Habits
from celo.metatrain.side_by_side import SideBySide, shares
from celo.metatrain.start_worker import outcome_to_json, start_from_json, start_to_json
from celo.metatrain.starts import starts_of
from tests.metatrain.conftest import SMALL, Small
from tests.metatrain.test_run import Telling


def test_shares_of_the_cores_are_apart() -> None:
    whole = shares(1)[0]
    assert sorted(sum(shares(2), [])) == whole or not whole or len(whole) == 1
    assert shares(len(whole) + 1) == [[]] * (len(whole) + 1)


def test_a_start_survives_the_journey(tmp_path: Path) -> None:
    [plan] = make_plan(**SMALL, restarts=2).stages
    for start in starts_of(plan, [None, "x"], tmp_path):
        assert start_from_json(start_to_json(start)) == start


class Interrupting(Telling):
    """Interrupts this process, once it is asked to, when something goes on."""

    interrupts = False

    def advanced(self, iteration: int, until: int, row: Any) -> None:
        if self.interrupts:
            self.interrupts = False
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.slow
def test_workers_same_numbers_then_interrupted_and_killed(small: Small, tmp_path: Path) -> None:
    [plan] = make_plan(**{**SMALL, "iterations": 10**6}, restarts=2).stages
    observer, logged = Interrupting(), []
    habits = Habits(loggers=(lambda iteration, row: logged.append(iteration),))
    with SideBySide(habits, observer, 2) as runner:
        starts = starts_of(plan, [None], tmp_path / "stage")
        found = runner.run(starts, 10)
        alone = small.run(tmp_path / "alone", until=10)
        first = found[0]
        assert not isinstance(first, DivergedError)
        # Schedules are constant, so that the number of iterations of the whole run is no matter.
        assert first.loss == alone.loss and first.iterations == 10
        assert outcome_to_json(first)["non_finite"] == 0
        files = [folder / "theta.safetensors" for folder in (first.folder, tmp_path / "alone")]
        assert files[0].read_bytes() == files[1].read_bytes()
        assert found[1].loss != first.loss  # pyright: ignore[reportAttributeAccessIssue]
        assert sorted(logged) == [5, 5, 10, 10]
        assert any(m.startswith("start 1: compiled in") for m in observer.messages)

        observer.interrupts = True
        with pytest.raises(InterruptedRunError, match="what was done is safe in .*stage"):
            runner.run(starts, None)
        checkpoint, _ = read_checkpoint(first.folder)
        assert checkpoint is not None and checkpoint.iteration > 10

        # The interruption may have met it outside of a run, where there was nothing to save.
        with contextlib.suppress(ProcessLookupError):
            os.kill(runner._workers[1]._process.pid, signal.SIGKILL)
        code = f"-({signal.SIGKILL:d}|{signal.SIGTERM:d})"
        with pytest.raises(
            CeloError, match=rf"start \d ended before its time \(exit code {code}\)"
        ):
            runner.run(starts, None)


def test_what_is_refused_there_is_refused_here(tmp_path: Path) -> None:
    [plan] = make_plan(**SMALL).stages
    with (
        SideBySide(Habits(), Telling(), 1) as runner,
        pytest.raises(UsageError, match="random:3 is no file of weights"),
    ):
        runner.run(starts_of(plan, ["random:3"], tmp_path), None)


class Diverging:
    """A worker whose runs diverge."""

    def __init__(self, settings: Any, cores: list[int]):
        self.asked: list[Any] = []

    def ask(self, message: Any) -> None:
        self.asked.append(message)

    def answer(self) -> Any:
        return {"kind": "diverged", "message": "3 in a row", "hint": "try less"}

    def close(self) -> None:
        pass


def test_a_start_that_diverges_is_a_result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(side_by_side, "_Worker", Diverging)
    [plan] = make_plan(**SMALL, restarts=2).stages
    with SideBySide(Habits(), Telling(), 2) as runner:
        found = runner.run(starts_of(plan, [None], tmp_path), 10)
    assert sorted(found) == [0, 1]
    for result in found.values():
        assert isinstance(result, DivergedError)
        assert (result.message, result.hint) == ("3 in a row", "try less")
