"""Computes the blocks of a plan that are not on disk yet.

JAX is imported only when there is something to compute. The host asks the compiled loop for as many
evaluation points a call as take about a second, one call ahead, so that the device never waits and
an interruption is answered soon.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from celo.errors import CeloError, WeightsError
from celo.evaluation.cells import Cell
from celo.evaluation.factories import optimizer_factory, traced_members
from celo.evaluation.plan import FINGERPRINTS_NOTE, Block, Entry, Plan
from celo.evaluation.recording import BlockTimes, failed_cells, finished_cells
from celo.evaluation.requests import Request, add_request
from celo.evaluation.store import Run, put_aside
from celo.registry import Found

if TYPE_CHECKING:
    from celo.evaluation.batches import Batches
    from celo.evaluation.loop import Program, Start
    from celo.protocol import Task
    from celo.records import TaskPlugin

_SECONDS_PER_CALL = 1.0


@dataclass(frozen=True)
class Progress:
    """How far the block in hand is.

    Attributes:
      step: training steps done.
      steps: training steps of the run.
      loss: smallest training loss among the block's runs at the last evaluation, or NaN.
      steps_per_second: of the last call, counting one step for all runs of the block.
    """

    step: int
    steps: int
    loss: float
    steps_per_second: float


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
      cells: of every block of the plan, failed ones included, in the order of the plan.
      complete: nothing failed and no task was skipped.
    """

    run: Run
    cells: list[Cell]
    complete: bool


def run_plan(plan: Plan, observer: Observer, *, fresh: bool = False) -> Outcome:
    """Computes what is missing and returns everything.

    Args:
      plan: from `make_plan`.
      observer: told about progress.
      fresh: put an existing run folder aside first.

    Raises:
      StoreError: the run folder cannot hold this run or cannot be written.
      KeyboardInterrupt: interrupted; every finished block is safe.
    """
    if fresh:
        aside = put_aside(plan.output)
        if aside is not None:
            _tell(observer.told, f"the run that was in {plan.output} is now in {aside}")
    run = Run.create(plan.output, plan.settings)
    run.remove_torn_files()
    run.write_note(FINGERPRINTS_NOTE, plan.fingerprints)
    run.fix_identity(
        {entry.text: entry.weights_id for entry in plan.entries if entry.weights_id},
        {block.data.name: block.data.fingerprint for block in plan.blocks},
    )
    add_request(run, _request(plan))
    cells: dict[int, list[Cell]] = {}
    todo: list[tuple[int, Block]] = []
    for index, block in enumerate(plan.blocks):
        known = _known_cells(run, block, observer)
        if known is None:
            todo.append((index, block))
        else:
            cells[index] = known
            _tell(observer.found, block)
    if todo:
        cells.update(_compute(run, plan, todo, observer))
    ordered = [cell for index in sorted(cells) for cell in cells[index]]
    failed = any(cell.status == "failed" for cell in ordered)
    return Outcome(run, ordered, complete=not failed and not plan.skipped)


def _request(plan: Plan) -> Request:
    skipped = {task.name: task.reason for task in plan.skipped}
    return Request(
        entries=tuple(entry.text for entry in plan.entries),
        tasks=tuple([*(task.record.name for task in plan.tasks), *skipped]),
        seeds=tuple(sorted({seed for block in plan.blocks for seed in block.seeds})),
        reference=plan.reference,
        skipped=skipped,
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
                    _tell(observer.told, f"{path} was damaged; it is set aside and computed again")
                break
            cells.append(cell)
        else:
            return cells
    return None


def _compute(
    run: Run, plan: Plan, todo: list[tuple[int, Block]], observer: Observer
) -> dict[int, list[Cell]]:
    from celo.evaluation.compilation import enable_compilation_cache

    enable_compilation_cache()
    import jax

    platform = jax.default_backend()
    _check_weights(block.entry for _, block in todo)
    results: dict[int, list[Cell]] = {}
    context: _TaskContext | None = None
    for index, block in todo:
        _tell(observer.started, block)
        try:
            # What a plugin prints must not end up in the middle of the results.
            with contextlib.redirect_stdout(sys.stderr):
                if context is None or context.found is not block.task:
                    context = None  # frees the device's copy of the last task's data
                    context = _open_task(block.task, plan)
                cells = _run_block(block, context, platform, observer)
        except CeloError as error:
            cells = failed_cells(block, platform, error.message)
        except (Exception, SystemExit) as error:
            cells = failed_cells(block, platform, _one_line(error))
        with _uninterrupted():
            for cell in cells:
                run.write(cell)
        results[index] = cells
        _tell(observer.finished, block, cells)
    return results


def _check_weights(entries: Iterable[Entry]) -> None:
    """Holds the weights of learned optimizers against their networks before anything runs.

    Raises:
      WeightsError: they are another optimizer's; names the leaves.
    """
    for entry in {entry.text: entry for entry in entries}.values():
        if entry.weights is not None:
            try:
                with contextlib.redirect_stdout(sys.stderr):
                    optimizer_factory(entry)
            except WeightsError:
                raise
            except (Exception, SystemExit):  # a plugin's own failure is recorded block by block
                continue


def _tell(hear: Callable[..., None], *what: Any) -> None:
    """Reports progress; an observer that fails must not turn healthy runs into failed ones."""
    with contextlib.suppress(Exception):
        hear(*what)


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)}"[:500]


@dataclass
class _TaskContext:
    """What the blocks of one task share: the task, its rows on the device, where runs start."""

    found: Found[TaskPlugin]
    task: Task
    batches: Batches
    starts: dict[tuple[int, ...], Start]


def _open_task(found: Found[TaskPlugin], plan: Plan) -> _TaskContext:
    from celo.evaluation.batches import open_batches
    from celo.tasks import build_task

    task = build_task(found.record, plan.selection)
    return _TaskContext(found, task, open_batches(task), {})


def _run_block(
    block: Block, context: _TaskContext, platform: str, observer: Observer
) -> list[Cell]:
    from celo.evaluation import loop

    began = time.monotonic()
    batching = block.batching(platform)
    if block.seeds not in context.starts:
        context.starts[block.seeds] = loop.prepare(
            context.task, context.batches, block.seeds, block.schedule
        )
    make_optimizer, theta = optimizer_factory(block.entry)
    program = loop.compile_program(
        context.starts[block.seeds],
        make_optimizer,
        theta,
        traced_members(block.entry),
        batching,
    )
    compile_s = time.monotonic() - began
    _tell(observer.compiled, block, compile_s)
    evaluation, training = drive(program, block, observer)
    times = BlockTimes(compile_s, time.monotonic() - began)
    return finished_cells(block, batching, platform, program, evaluation, training, times)


def drive(program: Program, block: Block, observer: Observer) -> tuple[np.ndarray, np.ndarray]:
    """Runs a compiled block to the end.

    Returns:
      (float32 [seeds, members, points, splits, 2], float32 [seeds, members, steps + 1]).
    """
    import jax

    from celo.evaluation.batches import POINTS_PER_WINDOW
    from celo.evaluation.loop import point_steps

    steps = point_steps(block.schedule)
    runs = program.start()
    evaluation: list[np.ndarray] = []
    training: list[np.ndarray] = []
    first, count = 0, 1
    pending: list[tuple[int, int, Any]] = []
    mark = time.monotonic()
    while first < program.points or pending:
        # One call is always queued behind the one being read.
        while first < program.points and len(pending) < 2:
            rest = POINTS_PER_WINDOW - first % POINTS_PER_WINDOW
            count = min(count, rest, program.points - first)
            runs, losses = program.advance(runs, first, count)
            pending.append((first, count, losses))
            first += count
        start, size, losses = pending.pop(0)
        values = jax.device_get(losses)
        evaluation.append(values.evaluation[:, :, :size])
        training.append(values.training[:, :, :size])
        now = time.monotonic()
        per_point, mark = (now - mark) / size, now
        count = max(1, int(_SECONDS_PER_CALL / max(per_point, 1e-6)))
        progress = _progress(evaluation[-1], steps, start, size, per_point, block)
        _tell(observer.advanced, block, progress)
    curves = np.concatenate(training, axis=2).reshape(*training[0].shape[:2], -1)
    return np.concatenate(evaluation, axis=2), _taken(curves, block)


def _taken(training: np.ndarray, block: Block) -> np.ndarray:
    """Drops the unused slots behind the last step of each evaluation point."""
    steps, every = block.schedule.steps, block.schedule.eval_every
    slots = [i for i in range(training.shape[2]) if i < steps]
    last = (training.shape[2] // every - 1) * every
    return training[:, :, [*slots, last]]


def _progress(
    evaluation: np.ndarray, steps: list[int], start: int, size: int, per_point: float, block: Block
) -> Progress:
    losses = evaluation[:, :, -1, 0, 0]
    finite = losses[np.isfinite(losses)]
    best = float(np.min(finite)) if finite.size else float("nan")
    rate = block.schedule.eval_every / max(per_point, 1e-9)
    return Progress(steps[start + size - 1], block.schedule.steps, best, rate)


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
