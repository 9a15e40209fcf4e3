"""Starts of a stage in several processes, each on its share of the cores.

Small inner problems keep one core busy and gain next to nothing from a second one; two programs in
one process fight for its pool of threads. So every worker is a process of its own
(`celo.metatrain.start_worker`). Which worker a start runs in changes none of its numbers.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from celo import errors
from celo.errors import CeloError, InterruptedRunError
from celo.metatrain.run import (
    WEIGHTS_FILE,
    DivergedError,
    Habits,
    Observer,
    Outcome,
    signals,
)
from celo.metatrain.stage import open_stage
from celo.metatrain.start_worker import Message, send, start_to_json
from celo.metatrain.starts import Result, Start

# -P: the folder that happens to be the current one is no place to import from.
_BOOTSTRAP = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); "
    "from celo.metatrain.start_worker import main; main()"
)


class SideBySide:
    """A `Runner` with several workers; a context manager, which ends them."""

    def __init__(self, habits: Habits, observer: Observer, workers: int):
        """Starts the workers.

        Args:
          habits: of the runs; without a callback.
          observer: hears everything that is told, and how one of the starts goes on.
          workers: how many.
        """
        self._habits = habits
        self._observer = observer
        self._hearing = threading.Lock()
        self._busy: set[int] = set()
        settings = {
            "checkpoint_s": habits.checkpoint_s,
            "keep_every": habits.keep_every,
            "logs": bool(habits.loggers),
        }
        self._workers = [_Worker(settings, cores) for cores in shares(workers)]

    def __enter__(self) -> SideBySide:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers:
            worker.close()

    def run(self, starts: Sequence[Start], until: int | None) -> dict[int, Result]:
        waiting: queue.SimpleQueue[Start] = queue.SimpleQueue()
        for start in starts:
            waiting.put(start)
        results: dict[int, Result] = {}
        failures: list[CeloError] = []

        def serve(number: int) -> None:
            worker = self._workers[number]
            with contextlib.suppress(queue.Empty):
                while not failures:
                    start = waiting.get_nowait()
                    self._busy.add(number)
                    try:
                        results[start.number] = self._one(worker, number, start, until)
                    except CeloError as error:
                        failures.append(error)
                    finally:
                        self._busy.discard(number)

        threads = [
            threading.Thread(target=serve, args=(n,), daemon=True)
            for n in range(len(self._workers))
        ]
        with signals() as signalled:
            for thread in threads:
                thread.start()
            told = False
            while any(thread.is_alive() for thread in threads):
                time.sleep(0.05)
                if not told and (signalled() or failures):
                    told = True
                    for worker in self._workers:
                        worker.interrupt()
            if signalled():
                raise InterruptedRunError(
                    f"interrupted: what was done is safe in {starts[0].folder.parent}",
                    hint="the same command goes on from there",
                )
        if failures:
            # The others may have failed because they were stopped.
            raise failures[0]
        return results

    def _one(self, worker: _Worker, number: int, start: Start, until: int | None) -> Result:
        worker.ask({"start": start_to_json(start), "until": until})
        while True:
            message = worker.answer()
            if message is None:
                raise CeloError(
                    f"the process of start {start.number} ended before its time "
                    f"(exit code {worker.exit_code()})",
                    hint="the same command goes on from the last checkpoint; --workers 1 needs "
                    "less memory",
                )
            with self._hearing:
                if message["kind"] == "advanced" and number == min(self._busy):
                    iteration, last = message["at"]
                    self._observer.advanced(iteration, last, message["row"])
                elif message["kind"] == "told":
                    self._observer.told(f"start {start.number}: {message['text']}")
                elif message["kind"] == "logged":
                    for log in self._habits.loggers:
                        log(message["iteration"], message["row"])
            if message["kind"] == "done":
                return _outcome(start, message)
            if message["kind"] == "diverged":
                return DivergedError(message["message"], hint=message["hint"])
            if message["kind"] == "failed":
                kind = getattr(errors, message["error"], CeloError)
                raise kind(message["message"], hint=message["hint"])


def shares(workers: int) -> list[list[int]]:
    """The cores of each worker; empty where the system does not say or there are too few."""
    if not hasattr(os, "sched_getaffinity"):
        return [[]] * workers
    cores = sorted(os.sched_getaffinity(0))
    return [cores[n::workers] if workers <= len(cores) else [] for n in range(workers)]


def _outcome(start: Start, message: Message) -> Outcome:
    from celo.lopt import theta_from_tree
    from celo_zoo import load_weights

    path = start.folder / WEIGHTS_FILE
    theta = theta_from_tree(open_stage(start.config).lopt, load_weights(str(path)).tree)
    facts = {name: message[name] for name in ("iterations", "seconds", "non_finite", "loss")}
    return Outcome(folder=Path(start.folder), theta=theta, **facts)


class _Worker:
    """One process."""

    def __init__(self, settings: Message, cores: list[int]):
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _BOOTSTRAP, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            # Ctrl-C is for this process, which passes it on.
            start_new_session=True,
        )
        self.ask({**settings, "cores": cores})

    def ask(self, message: Message) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has died, which `answer` will say
            send(self._process.stdin, message)

    def answer(self) -> Message | None:
        """The next message; None when there will be none."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line.endswith("\n") else None

    def interrupt(self) -> None:
        """Has the run under way save its state and end."""
        self._process.terminate()

    def exit_code(self) -> int:
        return self._process.wait()

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
