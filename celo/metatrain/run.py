"""A stage kept going in a folder, through kills, full disks and damaged files.

RUN/run.json              what the run is; another configuration is refused
RUN/theta.safetensors     the newest weights, so that `NAME@RUN` works at any time
RUN/log.jsonl             metrics, a line for every few iterations
RUN/checkpoints/          the last two states
RUN/thetas/               weights every so many iterations, where that was asked for
"""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from celo.errors import CeloError, InterruptedRunError, StoreError
from celo.files import write_atomically
from celo.metatrain.checkpoints import Checkpoint, read_checkpoint, write_checkpoint, write_errors
from celo.metatrain.journal import Journal
from celo.metatrain.processes import agreed, is_leader
from celo.metatrain.program import ITERATIONS_PER_CALL, OuterState, Program
from celo.metatrain.stage import Initial, Stage
from celo.protocol import MetaParams
from celo.trees import named_leaves
from celo_zoo import write_weights

SCHEMA = 1
WEIGHTS_FILE = "theta.safetensors"
_SECONDS_PER_CALL = 2.0


class DivergedError(CeloError):
    """Meta-training stopped: too many meta-gradients in a row were not finite."""

    code = "diverged"


class Observer(Protocol):
    """Hears how a run goes on."""

    def advanced(self, iteration: int, until: int, row: dict[str, Any] | None) -> None:
        """After a call; `row` is the newest line of the log, if there is a new one."""
        ...

    def told(self, message: str) -> None: ...


@dataclass
class SilentObserver:
    """Hears nothing."""

    def advanced(self, iteration: int, until: int, row: dict[str, Any] | None) -> None:
        pass

    def told(self, message: str) -> None:
        pass


@dataclass(frozen=True)
class Habits:
    """How a run is kept; none of it changes a number.

    Attributes:
      checkpoint_s: seconds between checkpoints.
      keep_every: outer iterations between weights kept in `thetas/`, or None.
      call_every: outer iterations between calls of `callback`, or None.
      callback: (iteration, file of the weights then).
      loggers: get every line of the log: (iteration, line).
    """

    checkpoint_s: float = 300.0
    keep_every: int | None = None
    call_every: int | None = None
    callback: Callable[[int, Path], None] | None = None
    loggers: tuple[Callable[[int, dict[str, Any]], None], ...] = field(default_factory=tuple)


@dataclass(frozen=True)
class Outcome:
    """What a run has come to.

    Attributes:
      folder: of the run.
      theta: the weights.
      iterations: done.
      seconds: spent on iterations, compiling left out, over all sessions.
      non_finite: meta-gradients that were not finite.
      loss: mean meta-loss of the last lines of the log that cover 50 iterations, or all.
    """

    folder: Path
    theta: MetaParams
    iterations: int
    seconds: float
    non_finite: int
    loss: float


def train(
    stage: Stage,
    initial: Initial,
    program: Program,
    folder: Path,
    *,
    until: int | None = None,
    habits: Habits | None = None,
    observer: Observer | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Outcome:
    """Runs a stage, or goes on with it, up to an iteration.

    Args:
      stage: what is run.
      initial: where it starts; part of its identity.
      program: of the stage.
      folder: of the run; made if there is none.
      until: outer iterations, at most those of the configuration; None for all of these.
      habits: checkpoints, callbacks.
      observer: hears how it goes.
      should_stop: asked after every call; a stop keeps everything, as an interruption does.

    Raises:
      StoreError: the folder holds something else, or cannot be written.
      InterruptedRunError: a signal came; the state is safe.
      DivergedError: too many meta-gradients in a row were not finite.
    """
    total = stage.config.iterations
    session = _Session(
        stage,
        program,
        folder,
        total if until is None else min(until, total),
        habits or Habits(),
        observer or SilentObserver(),
    )
    fix_identity(folder, {**stage.identity(), "init": initial.content})
    session.begin(initial)
    with signals() as signalled:
        while session.iteration < session.until:
            session.advance()
            if agreed(signalled() or (should_stop is not None and should_stop())):
                session.save()
                raise InterruptedRunError(
                    f"interrupted after iteration {session.iteration} of {session.until}: "
                    f"the state is safe in {folder}",
                    hint="the same command goes on from there",
                )
    return session.finish()


def fix_identity(folder: Path, identity: dict[str, Any]) -> None:
    """Writes down what a folder holds, or refuses another run there.

    Raises:
      StoreError: it holds another run, or something else, or cannot be written.
    """
    path = folder / "run.json"
    if path.exists():
        try:
            known = json.loads(path.read_bytes())
            schema = known.pop("schema")
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror or error}") from error
        except (ValueError, KeyError, AttributeError) as error:
            raise StoreError(
                f"{path} is damaged: {error}", hint="start over in another folder with --output"
            ) from error
        if schema != SCHEMA:
            raise StoreError(
                f"{path} was written by another celo (schema {schema}, this one reads {SCHEMA})",
                hint="update celo",
            )
        differences = _differences(known, json.loads(json.dumps(identity)))
        if differences:
            raise StoreError(
                f"{folder} holds a run that differs: {'; '.join(differences)}",
                hint="choose another folder with --output",
            )
        return
    if (
        is_leader()
        and folder.is_dir()
        and any(not p.name.startswith(".") for p in folder.iterdir())
    ):
        raise StoreError(
            f"{folder} is not empty and holds no run (it has no run.json)",
            hint="choose another folder with --output",
        )
    if not is_leader():
        return
    text = json.dumps({"schema": SCHEMA, **identity}, indent=2)
    with write_errors(folder):
        write_atomically(path, lambda file: file.write(text.encode()))


def _differences(known: Any, asked: Any, name: str = "") -> list[str]:
    if isinstance(known, dict) and isinstance(asked, dict):
        return [
            line
            for key in sorted({*known, *asked})
            for line in _differences(known.get(key), asked.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if known == asked else [f"{name}: {known} here, {asked} asked"]


class _Session:
    """One process's part of a run."""

    def __init__(
        self,
        stage: Stage,
        program: Program,
        folder: Path,
        until: int,
        habits: Habits,
        observer: Observer,
    ):
        self.until = until
        self.iteration = 0
        self._stage = stage
        self._program = program
        self._folder = folder
        self._habits = habits
        self._observer = observer
        self._journal = Journal(folder, program.families, stage.config.log_every)
        # Apart from the key of the initial weights, so that a theta given is not one drawn.
        key = jax.random.PRNGKey(stage.config.seed)
        self._start_key, self._key = jax.random.split(jax.random.fold_in(key, 1))
        self._state: OuterState | None = None
        self._spent = 0.0
        self._rate = 0.0  # seconds an iteration
        self._saved_at = time.monotonic()

    def begin(self, initial: Initial) -> None:
        found, complaints = read_checkpoint(self._folder)
        for complaint in complaints:
            self._observer.told(f"{complaint}; going on from the one before")
        if found is None:
            self._state = self._program.start(initial.theta, self._start_key)
            self._journal.resume(0, ())
            return
        structure = jax.tree.structure(self._program.template)
        leaves = [jax.numpy.asarray(leaf) for leaf in found.leaves]
        self._state = self._program.place(structure.unflatten(leaves))
        self.iteration = found.iteration
        self._spent = float(found.facts["seconds"])
        self._journal.resume(found.iteration, found.facts["pending"])
        if self.iteration < self.until:
            self._observer.told(f"going on from iteration {self.iteration} in {self._folder}")

    def advance(self) -> None:
        """One call of the program, and whatever is due after it."""
        assert self._state is not None
        count = agreed(self._calls())
        began = time.monotonic()
        state, metrics = self._program.advance(self._state, self._key, count)
        seconds = time.monotonic() - began
        self._state = state
        done = len(metrics["loss"])
        self._spent += seconds
        self._rate = seconds / max(done, 1)
        rows = self._journal.add(self.iteration, metrics, self._time())
        self.iteration += done
        self._told_rows(rows)
        self._observer.advanced(self.iteration, self.until, rows[-1] if rows else None)
        if done < count or int(state.streak) >= self._stage.config.patience:
            self._give_up()
        self._due()

    def save(self) -> None:
        """Writes a checkpoint and the weights."""
        assert self._state is not None
        leaves = jax.tree.leaves(self._program.gather(self._state))
        facts = {"seconds": self._spent, "pending": self._journal.pending}
        if is_leader():
            write_checkpoint(self._folder, Checkpoint(leaves, self.iteration, facts))
        self._write_theta(self._folder / WEIGHTS_FILE)
        self._saved_at = time.monotonic()

    def finish(self) -> Outcome:
        assert self._state is not None
        if self.iteration >= self._stage.config.iterations:
            self._told_rows(self._journal.finish(self.iteration, self._time()))
        self.save()
        return Outcome(
            folder=self._folder,
            theta=self._state.theta,
            iterations=self.iteration,
            seconds=self._spent,
            non_finite=int(self._state.non_finite),
            loss=last_loss(self._journal.rows()),
        )

    def _calls(self) -> int:
        """Iterations of the next call: about two seconds, and up to what is due next."""
        wanted = 1 if not self._rate else max(int(_SECONDS_PER_CALL / self._rate), 1)
        due = [
            every - self.iteration % every
            for every in (self._habits.keep_every, self._habits.call_every)
            if every is not None
        ]
        return min(wanted, ITERATIONS_PER_CALL, self.until - self.iteration, *due)

    def _due(self) -> None:
        habits = self._habits
        if habits.keep_every is not None and self.iteration % habits.keep_every == 0:
            self._write_theta(self._folder / "thetas" / f"{self.iteration:09d}.safetensors")
        if habits.call_every is not None and self.iteration % habits.call_every == 0:
            self.save()
            if habits.callback is not None and is_leader():
                habits.callback(self.iteration, self._folder / WEIGHTS_FILE)
        if agreed(time.monotonic() - self._saved_at >= habits.checkpoint_s):
            self.save()

    def _told_rows(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            for log in self._habits.loggers:
                log(row["iteration"], row)

    def _give_up(self) -> None:
        assert self._state is not None
        self._state = replace(self._state, theta=self._state.good)
        self._write_theta(self._folder / WEIGHTS_FILE)
        raise DivergedError(
            f"{self._stage.config.patience} meta-gradients in a row were not finite: stopped at "
            f"iteration {self.iteration}; the weights before them are in {self._folder}",
            hint="try a smaller --outer-lr or --sigma, or a larger --particles",
        )

    def _write_theta(self, path: Path) -> None:
        assert self._state is not None
        if not is_leader():
            return
        leaves = {name: np.asarray(leaf) for name, leaf in named_leaves(self._state.theta).items()}
        metadata = {
            "optimizer": self._stage.subject.found.record.name,
            "meta_training": {"iteration": self.iteration, "phase": self._stage.config.phase},
        }
        with write_errors(self._folder):
            write_weights(path, leaves, metadata, overwrite=True)

    def _time(self) -> dict[str, float]:
        per_second = self._program.inner_steps / self._rate if self._rate else 0.0
        return {"seconds": round(self._spent, 3), "inner_steps_per_second": round(per_second, 1)}


def last_loss(rows: list[dict[str, Any]], iterations: int = 50) -> float:
    """Mean meta-loss of the last lines that cover so many iterations; NaN where there are none."""
    total, count = 0.0, 0
    for row in reversed(rows):
        if count >= iterations:
            break
        loss = row["loss"]
        total += row["iterations"] * (float("nan") if loss is None else loss)
        count += row["iterations"]
    return total / count if count else float("nan")


@contextlib.contextmanager
def signals() -> Iterator[Callable[[], bool]]:
    """Turns SIGINT and SIGTERM into a question; the second one ends the process at once."""
    came = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield came.is_set
        return
    previous: dict[signal.Signals, Any] = {}

    def note(number: int, frame: Any) -> None:
        came.set()
        for which, handler in previous.items():
            signal.signal(which, handler)

    for which in (signal.SIGINT, signal.SIGTERM):
        previous[which] = signal.signal(which, note)
    try:
        yield came.is_set
    finally:
        for which, handler in previous.items():
            signal.signal(which, handler)
