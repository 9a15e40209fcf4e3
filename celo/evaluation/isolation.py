"""Computes blocks in a process of its own, which may be stopped and may die.

Only this stops code that hangs: a compiled call, or a plugin that never returns, cannot be
interrupted from within. The process lives from block to block; after it was stopped or has died,
the next block starts another. This side imports no JAX and touches no device.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import IO

import numpy as np

from celo.errors import WeightsError
from celo.evaluation.computing import Listener, Progress, Steps
from celo.evaluation.limits import Limits
from celo.evaluation.plan import Block, Entry, Plan
from celo.evaluation.recording import BlockTimes, Computed, Failed, Machine
from celo.evaluation.worker import Message, export_settings, identity, receive, send

_START_LIMIT_S = 300.0
_LONGEST_WAIT_S = 3600.0

# -P: the folder that happens to be the current one is no place to import from.
_BOOTSTRAP = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); "
    "from celo.evaluation.worker import main; main()"
)
_Received = tuple[Message, list[np.ndarray]]


@dataclass(frozen=True)
class Share:
    """Which part of the machine a worker may use.

    Attributes:
      number: of the worker, from 0.
      count: of workers on this machine.
    """

    number: int
    count: int


class IsolatedComputer:
    """A `Computer` whose blocks are computed by a worker."""

    def __init__(self, plan: Plan, limits: Limits, share: Share | None = None):
        """Nothing is started before there is something to do.

        Args:
          plan: whose blocks will be computed.
          limits: of each of them.
          share: the part of the machine for this one of several workers; None for all of it.
        """
        self._plan = plan
        self._limits = limits
        self._share = share
        self._worker: _Process | None = None
        self._machine = Machine("unknown", "unknown", "unknown")
        self._closing = threading.Lock()
        self._closed = False

    @property
    def machine(self) -> Machine:
        return self._machine

    def check_weights(self, entries: Iterable[Entry]) -> None:
        for entry in {entry.text: entry for entry in entries}.values():
            if entry.weights is not None:
                answer = self._ask({"check": entry.text}, Steps(_Nobody()))
                # What hangs, dies or raises here does so again in its block, and is recorded there.
                if not isinstance(answer, Failed) and answer[0]["kind"] == "refused":
                    raise WeightsError(answer[0]["message"], hint=answer[0]["hint"])

    def compute(self, block: Block, listener: Listener) -> Computed | Failed:
        answer = self._ask(identity(block), Steps(listener), block)
        if isinstance(answer, Failed):
            return answer
        message, arrays = answer
        if message["kind"] == "failed":
            return Failed(message["reason"], message["step"])
        figures = message["figures"]
        times = BlockTimes(**figures.pop("times"))
        return Computed(evaluation=arrays[0], training=arrays[1], times=times, **figures)

    def close(self) -> None:
        """Ends the worker for good; may be called while another thread waits for an answer."""
        with self._closing:
            self._closed = True
        self._end_worker()

    def _end_worker(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.stop()

    def _ask(
        self, request: Message, steps: Steps, block: Block | None = None
    ) -> _Received | Failed:
        """Sends a request and hears its answer; whatever goes wrong ends the worker."""
        try:
            return self._converse(request, steps, block)
        except _Silent as silent:
            self._end_worker()
            return replace(steps.failed(str(silent)), died=silent.died)
        except _OverTime:
            self._end_worker()
            at = "before its first step" if steps.step is None else f"at step {steps.step}"
            limit = f"--time-limit {self._limits.seconds:g} s"
            return Failed(f"stopped by {limit} {at}", steps.step)
        except BaseException:  # interrupted: nobody waits for the answer any more
            self._end_worker()
            raise

    def _converse(self, request: Message, steps: Steps, block: Block | None) -> _Received:
        worker = self._worker or self._start()
        deadline = time.monotonic() + (self._limits.seconds or float("inf"))
        worker.send(request)
        while True:
            received = worker.receive(deadline)
            message = received[0]
            if message["kind"] == "compiled" and block is not None:
                steps.compiled(block, message["seconds"])
            elif message["kind"] == "advanced" and block is not None:
                steps.advanced(block, Progress(**message["progress"]))
            else:
                return received

    def _start(self) -> _Process:
        with self._closing:
            if self._closed:
                raise _Silent("the command has ended")
            worker = self._worker = _Process({**_environment(self._share), **_pinned(self._plan)})
        worker.send({**_request(self._plan, self._limits), "cpus": _cpus(self._share)})
        try:
            message, _ = worker.receive(time.monotonic() + _START_LIMIT_S)
        except _OverTime:
            raise _Silent(f"its process did not start within {_START_LIMIT_S:g} s") from None
        if message["kind"] == "broken":
            raise _Silent(message["reason"])
        self._machine = Machine(**message["machine"])
        return worker


class _Silent(Exception):
    """Nothing more will come from the worker; says why.

    Attributes:
      died: it was killed or ended by itself.
    """

    def __init__(self, reason: str, *, died: bool = False):
        super().__init__(reason)
        self.died = died


class _OverTime(Exception):
    """The time is over."""


class _Nobody:
    def compiled(self, block: Block, seconds: float) -> None: ...
    def advanced(self, block: Block, progress: Progress) -> None: ...


def _request(plan: Plan, limits: Limits) -> Message:
    schedule = plan.settings.schedule
    config = {
        "optimizers": [entry.text for entry in plan.entries],
        "tasks": [task.record.name for task in plan.tasks],
        "steps": schedule.steps,
        "seeds": sorted({seed for block in plan.blocks for seed in block.seeds}),
        "output": str(plan.output),
        "reference": plan.reference,
        "data": plan.selection.text,
        "published_splits": plan.selection.published_splits,
        "eval_every": schedule.eval_every,
        "eval_batches": schedule.eval_batches,
        "last_eval_batches": schedule.last_eval_batches,
    }
    return {"config": config, "memory": limits.memory, "jax": export_settings()}


def _cpus(share: Share | None) -> list[int] | None:
    """The cores of a worker: neighbours, each core to one worker as far as they go round."""
    if share is None or not hasattr(os, "sched_getaffinity"):
        return None
    cpus = sorted(os.sched_getaffinity(0))
    if share.count > len(cpus):
        return [cpus[share.number % len(cpus)]]
    start, end = (n * len(cpus) // share.count for n in (share.number, share.number + 1))
    return cpus[start:end]


def _environment(share: Share | None) -> Mapping[str, str]:
    """Environment of a worker; what the user has set wins.

    The number of XLA's threads stays that of the whole machine, though they run on a worker's own
    cores: how a sum is split over threads moves its last bits, and numbers must not depend on the
    number of workers. GPUs that are listed go round, and those who share one share the memory that
    JAX would reserve for a single process.
    """
    if share is None:
        return os.environ
    chosen, defaults = {}, {}
    gpus = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    if len(gpus) > 1:
        chosen["CUDA_VISIBLE_DEVICES"] = gpus[share.number % len(gpus)]
    on_one = math.ceil(share.count / max(len(gpus), 1))
    defaults["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.75 / on_one:.4f}"
    if hasattr(os, "sched_getaffinity"):
        defaults["PJRT_NPROC"] = os.environ.get("NPROC", str(len(os.sched_getaffinity(0))))
    return {**defaults, **os.environ, **chosen}


def _pinned(plan: Plan) -> dict[str, str]:
    """Where bundled weights stand in, a worker neither looks for others again nor finds them."""
    stand_in = any(entry.weights and entry.weights.stand_in for entry in plan.entries)
    return {"HF_HUB_OFFLINE": "1"} if stand_in else {}


class _Process:
    """A worker and the two pipes to it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        command = [sys.executable, "-P", "-c", _BOOTSTRAP, json.dumps(sys.path)]
        # A session of its own: an interruption at the terminal is ours to answer, and what
        # a plugin started is stopped with it.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests = self._process.stdin
        self._received: queue.Queue[_Received | None] = queue.Queue()
        answers = self._process.stdout
        self._reader = threading.Thread(target=_read, args=(answers, self._received), daemon=True)
        self._reader.start()

    def send(self, message: Message) -> None:
        with contextlib.suppress(OSError):  # it has died: `receive` will say how
            send(self._requests, message)

    def receive(self, deadline: float) -> _Received:
        """The next message.

        Args:
          deadline: on the monotonic clock.

        Raises:
          _Silent: it has died.
          _OverTime: nothing has come until then.
        """
        while True:
            wait = min(max(deadline - time.monotonic(), 0.0), _LONGEST_WAIT_S)
            try:
                received = self._received.get(timeout=wait)
            except queue.Empty:
                if time.monotonic() >= deadline:
                    raise _OverTime from None
                continue
            if received is None:
                raise _Silent(self._death(), died=True)
            return received

    def stop(self) -> None:
        """Ends it and what it started, at once."""
        if hasattr(os, "killpg") and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        self._reader.join()
        with contextlib.suppress(OSError):
            self._requests.close()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _death(self) -> str:
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return "its process closed the connection"
        if code >= 0:
            return f"its process ended with exit code {code}"
        name = signal.Signals(-code).name
        why = ", as happens when memory runs out" if name == "SIGKILL" else ""
        return f"its process was killed by {name}{why}"


def _read(answers: IO[bytes], received: queue.Queue[_Received | None]) -> None:
    message = None
    with contextlib.suppress(Exception):
        while (message := receive(answers)) is not None:
            received.put(message)
    received.put(None)
