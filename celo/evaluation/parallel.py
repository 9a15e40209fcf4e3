"""Several computers at once: each in a thread, which only waits for its process.

Whatever happens is heard in the caller's thread, one thing after the other: progress, results,
an interruption. Which computer gets which block is decided there too, and is kept nowhere, so no
claim outlives the command.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from celo.evaluation.computing import Computer, Listener, Progress, tell
from celo.evaluation.plan import Block
from celo.evaluation.recording import Computed, Failed

Item = TypeVar("Item")
Died = Callable[[Block, Failed], None]


@dataclass(frozen=True)
class _Event:
    """What a lane says: `hear` of its listener, the block's outcome, or what it raised."""

    lane: _Lane
    heard: Callable[[Listener], None] | None = None
    outcome: Computed | Failed | None = None
    error: BaseException | None = None


class _Lane:
    """A computer and its thread; passes on what it hears."""

    def __init__(self, computer: Computer, events: queue.Queue[_Event]):
        self.computer = computer
        self._events = events
        self._blocks: queue.SimpleQueue[Block | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def start(self, block: Block) -> None:
        self._blocks.put(block)

    def close(self) -> None:
        self._blocks.put(None)
        self.computer.close()
        self._thread.join()

    def compiled(self, block: Block, seconds: float) -> None:
        self._events.put(_Event(self, lambda listener: listener.compiled(block, seconds)))

    def advanced(self, block: Block, progress: Progress) -> None:
        self._events.put(_Event(self, lambda listener: listener.advanced(block, progress)))

    def _serve(self) -> None:
        while (block := self._blocks.get()) is not None:
            try:
                self._events.put(_Event(self, outcome=self.computer.compute(block, self)))
            except BaseException as error:  # raised again where it is heard
                self._events.put(_Event(self, error=error))


def compute_all(
    computers: Sequence[Computer],
    items: Sequence[tuple[Item, Block]],
    begin: Callable[[Item, Block], bool],
    listener: Listener,
    died: Died,
) -> Iterator[tuple[Item, Block, Computer, Computed | Failed]]:
    """Computes blocks on several computers and yields each with its outcome as it ends.

    A block whose process died, for want of memory perhaps, is tried once more when all others are
    done, alone: then its failure is its own.

    Args:
      computers: at least one; closed at the end, however that comes.
      items: blocks, each with a mark of the caller's.
      begin: asked before a block starts; False if it is no longer to be computed.
      listener: told about progress, in this thread.
      died: told of a block that will be tried again.
    """
    events: queue.Queue[_Event] = queue.Queue()
    lanes = [_Lane(computer, events) for computer in computers]
    with contextlib.ExitStack() as stack:
        for lane in lanes:
            stack.callback(lane.close)
        again: list[tuple[Item, Block]] = []
        for item, block, lane, outcome in _phase(lanes, events, items, begin, listener):
            if isinstance(outcome, Failed) and outcome.died:
                again.append((item, block))
                tell(died, block, outcome)
            else:
                yield item, block, lane.computer, outcome
        for lane in lanes[1:] if again else ():
            lane.computer.close()  # gives its memory back
        for item, block, lane, outcome in _phase(lanes[:1], events, again, begin, listener):
            yield item, block, lane.computer, outcome


def _phase(
    lanes: Sequence[_Lane],
    events: queue.Queue[_Event],
    items: Sequence[tuple[Item, Block]],
    begin: Callable[[Item, Block], bool],
    listener: Listener,
) -> Iterator[tuple[Item, Block, _Lane, Any]]:
    waiting, idle = deque(items), deque(lanes)
    running: dict[_Lane, tuple[Item, Block]] = {}
    while True:
        while waiting and idle:
            item, block = waiting.popleft()
            if begin(item, block):
                lane = idle.popleft()
                running[lane] = (item, block)
                lane.start(block)
        if not running:
            return
        event = events.get()
        if event.error is not None:
            raise event.error
        if event.heard is not None:
            tell(event.heard, listener)
            continue
        idle.append(event.lane)
        yield *running.pop(event.lane), event.lane, event.outcome
