"""The process in which blocks are computed under limits; `isolation` is at the other end.

It rebuilds the plan from the same request, computes the blocks it is asked for and sends their
arrays back; it writes no results. It ends when the other end goes away, whatever it is doing.

A message is one line of JSON; its entry `arrays`, if any, counts the bytes of the .npy files that
follow it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from celo.evaluation.computing import LocalComputer, Progress
    from celo.evaluation.plan import Block, Plan

Message = dict[str, Any]


def send(file: IO[bytes], message: Mapping[str, Any], *arrays: np.ndarray) -> None:
    """Writes one message.

    Raises:
      OSError: the other end is gone.
    """
    parts = []
    for array in arrays:
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        parts.append(buffer.getvalue())
    line = json.dumps({**message, "arrays": [len(part) for part in parts]})
    file.write(b"".join([line.encode(), b"\n", *parts]))
    file.flush()


def receive(file: IO[bytes]) -> tuple[Message, list[np.ndarray]] | None:
    """Reads one message; None when the other end is gone, even in the middle of one."""
    line = file.readline()
    if not line.endswith(b"\n"):
        return None
    message: Message = json.loads(line)
    parts = [file.read(size) for size in message.pop("arrays")]
    try:
        return message, [np.load(io.BytesIO(part), allow_pickle=False) for part in parts]
    except (ValueError, EOFError):
        return None


def main() -> None:
    """Serves until stdin ends."""
    # What plugins print or read must not get into the conversation.
    answers, asked = os.fdopen(os.dup(1), "wb"), os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    _die_with_parent()
    _die_first()
    requests: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(asked, requests), daemon=True).start()
    _Worker(answers, requests.get()).serve(requests)


def _listen(asked: IO[bytes], requests: queue.SimpleQueue[Message]) -> None:
    while (received := receive(asked)) is not None:
        requests.put(received[0])
    os._exit(0)  # nobody waits for what is being computed


def _die_with_parent() -> None:
    """Where Linux offers it: code that holds the interpreter's lock keeps `_listen` from ending."""
    with contextlib.suppress(Exception):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() == 1:
            os._exit(0)


def _die_first() -> None:
    """When memory runs out on Linux, this process goes, not the one that keeps the results."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("700")


class _Worker:
    def __init__(self, answers: IO[bytes], request: Message):
        self._answers = answers
        self._request = request

    def serve(self, requests: queue.SimpleQueue[Message]) -> None:
        from celo.errors import CeloError
        from celo.evaluation.computing import one_line

        try:
            plan, computer = self._start()
        except CeloError as error:
            send(self._answers, {"kind": "broken", "reason": error.message})
            return
        except (Exception, SystemExit) as error:
            send(self._answers, {"kind": "broken", "reason": one_line(error)})
            return
        send(self._answers, {"kind": "ready", "machine": asdict(computer.machine)})
        while True:
            request = requests.get()
            if "check" in request:
                self._check(plan, computer, request["check"])
            else:
                self._compute(plan, computer, request)

    def _start(self) -> tuple[Plan, LocalComputer]:
        from celo.evaluation.computing import LocalComputer
        from celo.evaluation.config import EvalConfig
        from celo.evaluation.limits import Limits
        from celo.evaluation.plan import make_plan

        _keep_to(self._request["cpus"])
        import_settings(self._request["jax"])
        config = self._request["config"]
        plan = make_plan(EvalConfig(**{**config, "output": Path(config["output"])}))
        return plan, LocalComputer(plan, Limits(memory=self._request["memory"]))

    def _check(self, plan: Plan, computer: LocalComputer, text: str) -> None:
        from celo.errors import WeightsError

        try:
            computer.check_weights(entry for entry in plan.entries if entry.text == text)
        except WeightsError as error:
            send(self._answers, {"kind": "refused", "message": error.message, "hint": error.hint})
        else:
            send(self._answers, {"kind": "checked"})

    def _compute(self, plan: Plan, computer: LocalComputer, request: Message) -> None:
        from celo.evaluation.recording import Failed

        found = [block for block in plan.blocks if identity(block) == request]
        if not found:
            reason = "its weights, its data or its plugin have changed since this command started"
            send(self._answers, {"kind": "failed", "reason": reason, "step": None})
            return
        outcome = computer.compute(found[0], self)
        if isinstance(outcome, Failed):
            send(self._answers, {"kind": "failed", **asdict(outcome)})
            return
        figures = {
            "times": asdict(outcome.times),
            "temp_bytes": outcome.temp_bytes,
            "state_bytes_per_parameter": outcome.state_bytes_per_parameter,
            "peak_memory_bytes": outcome.peak_memory_bytes,
        }
        send(
            self._answers,
            {"kind": "computed", "figures": figures},
            outcome.evaluation,
            outcome.training,
        )

    def compiled(self, block: Block, seconds: float) -> None:
        send(self._answers, {"kind": "compiled", "seconds": seconds})

    def advanced(self, block: Block, progress: Progress) -> None:
        send(self._answers, {"kind": "advanced", "progress": asdict(progress)})


def _keep_to(cpus: list[int] | None) -> None:
    """Leaves the other cores to the other workers; before JAX starts its threads."""
    if cpus is not None:
        with contextlib.suppress(OSError):  # taken away from us meanwhile: slower, no worse
            os.sched_setaffinity(0, cpus)


def identity(block: Block) -> Message:
    """What names a block at both ends: its cells, with all that their numbers depend on."""
    return {"block": [key.digest for key in block.keys("vmap")]}


def export_settings() -> dict[str, Any]:
    """JAX's settings in this process, as far as they can be told; {} if it does not run here."""
    if "jax" not in sys.modules:
        return {}
    import jax

    settings = {name: getattr(jax.config, name, value) for name, value in _settings(jax).items()}
    plain = (str, int, float, bool, type(None))
    return {name: value for name, value in settings.items() if isinstance(value, plain)}


def import_settings(settings: Mapping[str, Any]) -> None:
    """Sets what differs: numbers must not depend on where they are computed."""
    import jax

    here = _settings(jax)
    for name, value in settings.items():
        if name in here and here[name] != value:
            jax.config.update(name, value)


def _settings(jax: Any) -> Mapping[str, Any]:
    return dict(getattr(jax.config, "values", {}))
