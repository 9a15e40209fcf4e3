"""The process in which starts of a stage run; `side_by_side` is at the other end.

It is asked for one start after the other and compiles once for all that differ in the seed alone.
A message is one line of JSON. It saves and ends when the other end goes away.
"""

from __future__ import annotations

import contextlib
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

if TYPE_CHECKING:
    from celo.metatrain.run import Outcome
    from celo.metatrain.starts import Start

Message = dict[str, Any]


def send(file: IO[str], message: Mapping[str, Any]) -> None:
    """Writes one message.

    Raises:
      OSError: the other end is gone.
    """
    file.write(json.dumps(message) + "\n")
    file.flush()


def start_to_json(start: Start) -> Message:
    return {**asdict(start), "folder": str(start.folder)}


def start_from_json(value: Mapping[str, Any]) -> Start:
    from celo.metatrain.config import StageConfig
    from celo.metatrain.starts import Start

    config = StageConfig.from_json(value["config"])
    return Start(value["number"], config, value["init"], Path(value["folder"]))


def outcome_to_json(outcome: Outcome) -> Message:
    """All but theta, which lies in the folder."""
    facts = ("iterations", "seconds", "non_finite", "loss")
    return {name: getattr(outcome, name) for name in facts}


def main() -> None:
    """Serves until stdin ends."""
    # What plugins print or read must not get into the conversation.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    asked = os.fdopen(os.dup(0), encoding="utf-8")
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    settings = json.loads(asked.readline())
    # Before JAX is there, whose pools are as large as the cores that it sees; threads inside one
    # program gain next to nothing.
    if settings["cores"]:
        os.sched_setaffinity(0, settings["cores"])
    requests: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(asked, requests), daemon=True).start()
    _serve(answers, requests, settings)


def _listen(asked: IO[str], requests: queue.SimpleQueue[Message | None]) -> None:
    for line in asked:
        requests.put(json.loads(line))
    requests.put(None)
    # Whatever is under way: a run answers this signal by saving its state.
    os.kill(os.getpid(), signal.SIGTERM)


def _serve(
    answers: IO[str], requests: queue.SimpleQueue[Message | None], settings: Message
) -> None:
    from celo.errors import CeloError
    from celo.metatrain.run import DivergedError, Habits
    from celo.metatrain.starts import LocalRunner

    def log(iteration: int, row: dict[str, Any]) -> None:
        send(answers, {"kind": "logged", "iteration": iteration, "row": row})

    habits = Habits(
        checkpoint_s=settings["checkpoint_s"],
        keep_every=settings["keep_every"],
        loggers=(log,) if settings["logs"] else (),
    )
    runner = LocalRunner(habits, _Telling(answers))
    while (request := requests.get()) is not None:
        try:
            result = runner.attempt(start_from_json(request["start"]), request["until"])
        except CeloError as error:
            answer = {"kind": "failed", "error": type(error).__name__}
            send(answers, {**answer, "message": error.message, "hint": error.hint})
        else:
            if isinstance(result, DivergedError):
                send(answers, {"kind": "diverged", "message": result.message, "hint": result.hint})
            else:
                send(answers, {"kind": "done", **outcome_to_json(result)})


class _Telling:
    """An observer at the other end."""

    def __init__(self, answers: IO[str]):
        self._answers = answers

    def advanced(self, iteration: int, until: int, row: dict[str, Any] | None) -> None:
        send(self._answers, {"kind": "advanced", "at": [iteration, until], "row": row})

    def told(self, message: str) -> None:
        send(self._answers, {"kind": "told", "text": message})


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
    sys.exit(0)
