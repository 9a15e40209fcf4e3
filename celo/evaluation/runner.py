"""Computes the blocks of a plan that are not on disk yet.

JAX is imported only when there is something to compute: in this process, or, under limits, in
one of its own that may be stopped or die without harm to the rest, or in several at once. Results
are written by this process alone.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from celo.evaluation.cells import Cell
from celo.evaluation.computing import Computer, LocalComputer, Progress, tell
from celo.evaluation.identity import Identity
from celo.evaluation.limits import Limits
from celo.evaluation.plan import FINGERPRINTS_NOTE, Block, Plan
from celo.evaluation.recording import Computed, Failed, failed_cells, finished_cells
from celo.evaluation.requests import Request, add_request
from celo.evaluation.store import Run, put_aside

_Item = tuple[int, Block]


class Observer(Protocol):
    """Hears what the runner does."""

    def started(self, block: Block) -> None: ...
    def compiled(self, block: Block, seconds: float) -> None: ...
    def advanced(self, block: Block, progress: Progress) -> None: ...
    def finished(self, block: Block, cells: list[Cell]) -> None: ...
    def found(self, block: Block) -> None: ...
    def told(self, message: str) -> None: ...


class SilentObserver:
    """Hears everything, says nothing."""

    def started(self, block: Block) -> None: ...
    def compiled(self, block: Block, seconds: float) -> None: ...
    def advanced(self, block: Block, progress: Progress) -> None: ...
    def finished(self, block: Block, cells: list[Cell]) -> None: ...
    def found(self, block: Block) -> None: ...
    def told(self, message: str) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """What became of a plan.

    Attributes:
      run: the run folder.
      cells: of every block of the plan's shard, failed ones included, in the order of the plan.
      complete: nothing failed and no task was skipped.
    """

    run: Run
    cells: list[Cell]
    complete: bool


def run_plan(
    plan: Plan,
    observer: Observer,
    *,
    fresh: bool = False,
    limits: Limits | None = None,
    workers: int = 1,
) -> Outcome:
    """Computes what is missing and returns everything.

    Args:
      plan: from `make_plan`.
      observer: told about progress.
      fresh: put an existing run folder aside first.
      limits: of every block; a block that exceeds them is recorded as failed.
      workers: processes that compute at the same time; numbers do not depend on it.

    Raises:
      StoreError: the run folder cannot hold this run or cannot be written.
      KeyboardInterrupt: interrupted; every finished block is safe.
    """
    if fresh:
        aside = put_aside(plan.output)
        if aside is not None:
            tell(observer.told, f"the run that was in {plan.output} is now in {aside}")
    run = Run.create(plan.output, plan.settings, plan.not_publishable)
    run.remove_torn_files()
    run.write_note(FINGERPRINTS_NOTE, plan.fingerprints)
    run.fix_identity(
        Identity(
            weights={entry.text: entry.weights_id for entry in plan.entries if entry.weights_id},
            data={block.data.name: block.data.fingerprint for block in plan.blocks},
            origins={entry.text: entry.weights.origin for entry in plan.entries if entry.weights},
        )
    )
    add_request(run, _request(plan))
    cells: dict[int, list[Cell]] = {}
    todo: list[_Item] = []
    for index, block in enumerate(plan.own):
        known = _known_cells(run, block, observer)
        if known is None:
            todo.append((index, block))
        else:
            cells[index] = known
            tell(observer.found, block)
    if todo:
        cells.update(_compute(run, plan, todo, observer, limits or Limits(), workers))
    ordered = [cell for index in sorted(cells) for cell in cells[index]]
    failed = any(cell.status == "failed" for cell in ordered)
    return Outcome(run, ordered, complete=not failed and not plan.skipped)


def _request(plan: Plan) -> Request:
    skipped = plan.reasons
    return Request(
        entries=tuple(entry.text for entry in plan.entries),
        tasks=tuple([*(task.record.name for task in plan.tasks), *skipped]),
        seeds=tuple(sorted({seed for block in plan.blocks for seed in block.seeds})),
        reference=plan.reference,
        skipped=skipped,
        publishable_steps=plan.publishable_steps,
    )


def _known_cells(run: Run, block: Block, observer: Observer) -> list[Cell] | None:
    """The block's cells if all are on disk, in one of the layouts it may have been computed in."""
    for batching in block.layouts():
        cells = []
        for key in block.keys(batching):
            damaged_before = run.has(key)
            cell = run.read(key)
            if cell is None:
                if damaged_before and not run.has(key):
                    path = run.cell_path(key)
                    tell(observer.told, f"{path} was damaged; it is set aside and computed again")
                break
            cells.append(cell)
        else:
            return cells
    return None


def _compute(
    run: Run,
    plan: Plan,
    todo: Sequence[_Item],
    observer: Observer,
    limits: Limits,
    workers: int,
) -> dict[int, list[Cell]]:
    results: dict[int, list[Cell]] = {}

    def begin(index: int, block: Block) -> bool:
        """Starts a block, unless another process on this folder has finished it meanwhile."""
        known = _known_cells(run, block, observer)
        if known is not None:
            results[index] = known
            tell(observer.found, block)
            return False
        tell(observer.started, block)
        return True

    outcomes = _outcomes(plan, todo, begin, observer, limits, workers)
    with contextlib.closing(outcomes):
        for index, block, computer, outcome in outcomes:
            if isinstance(outcome, Failed):
                cells = failed_cells(block, computer.machine, outcome)
            else:
                cells = finished_cells(block, computer.machine, outcome)
            with _uninterrupted():
                results[index] = [_write(run, cell) for cell in cells]
            tell(observer.finished, block, results[index])
    return results


def _outcomes(
    plan: Plan,
    todo: Sequence[_Item],
    begin: Callable[[int, Block], bool],
    observer: Observer,
    limits: Limits,
    workers: int,
) -> Generator[tuple[int, Block, Computer, Computed | Failed], None, None]:
    count = min(workers, len(todo))
    if count > 1:
        from celo.evaluation.parallel import compute_all

        def died(block: Block, failed: Failed) -> None:
            where = f"{block.entry.label} on {block.task.record.name}"
            observer.told(f"{where}: {failed.reason}; it is tried again at the end, alone")

        computers = _computers(plan, limits, count)
        computers[0].check_weights(block.entry for _, block in todo)
        yield from compute_all(computers, todo, begin, observer, died)
        return
    with contextlib.closing(_computer(plan, limits)) as computer:
        computer.check_weights(block.entry for _, block in todo)
        for index, block in todo:
            if begin(index, block):
                yield index, block, computer, computer.compute(block, observer)


def _computers(plan: Plan, limits: Limits, count: int) -> Sequence[Computer]:
    from celo.evaluation.isolation import IsolatedComputer, Share

    return [IsolatedComputer(plan, limits, Share(number, count)) for number in range(count)]


def _computer(plan: Plan, limits: Limits) -> Computer:
    if limits.isolated:
        from celo.evaluation.isolation import IsolatedComputer

        return IsolatedComputer(plan, limits)
    return LocalComputer(plan, limits)


def _write(run: Run, cell: Cell) -> Cell:
    """Writes a cell, unless it failed where it is finished already; returns what is on disk.

    Of a block that was torn, or that another process computed meanwhile, some cells are there.
    """
    if cell.status == "failed":
        finished = run.read(cell.key)
        if finished is not None:
            return finished
    run.write(cell)
    return cell


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Finishes the writes in hand before an interruption is heard."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {s: signal.signal(s, lambda number, _: heard.append(number)) for s in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if heard:
            raise KeyboardInterrupt
