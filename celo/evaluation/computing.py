"""Computes blocks in this process: the half of the runner that needs JAX's devices.

The host asks the compiled loop for as many evaluation points a call as take about a second, one
call ahead, so that the device never waits and an interruption is answered soon.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from celo.errors import CeloError, WeightsError
from celo.evaluation.limits import Limits, shown_size
from celo.evaluation.plan import Block, Entry, Plan
from celo.evaluation.recording import BlockTimes, Computed, Failed, Machine, peak_memory
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


class Listener(Protocol):
    """Hears how the computing of a block goes on."""

    def compiled(self, block: Block, seconds: float) -> None: ...
    def advanced(self, block: Block, progress: Progress) -> None: ...


class Computer(Protocol):
    """Computes blocks, here or elsewhere."""

    def check_weights(self, entries: Iterable[Entry]) -> None:
        """Holds the weights of learned optimizers against their networks before anything runs.

        Raises:
          WeightsError: they are another optimizer's; names the leaves.
        """
        ...

    def compute(self, block: Block, listener: Listener) -> Computed | Failed:
        """Runs a block to its end; whatever a plugin does is a failed block."""
        ...

    @property
    def machine(self) -> Machine:
        """What it computes on."""
        ...

    def close(self) -> None:
        """Ends it, whatever it is doing."""
        ...


class Steps:
    """A listener that remembers how far a block got, for the case that it gets no further."""

    def __init__(self, listener: Listener):
        self.step: int | None = None
        self._listener = listener

    def compiled(self, block: Block, seconds: float) -> None:
        tell(self._listener.compiled, block, seconds)

    def advanced(self, block: Block, progress: Progress) -> None:
        self.step = progress.step
        tell(self._listener.advanced, block, progress)

    def failed(self, reason: str) -> Failed:
        after = "" if self.step is None else f", after step {self.step}"
        return Failed(reason + after, self.step)


class LocalComputer:
    """Computes blocks in this process; a task's data stay on the device until the next task."""

    def __init__(self, plan: Plan, limits: Limits):
        """Starts JAX.

        Args:
          plan: whose blocks will be computed.
          limits: of these, memory is decided here; time needs somebody outside.
        """
        from celo.evaluation.compilation import enable_compilation_cache

        enable_compilation_cache()
        import jax

        self._plan = plan
        self._limits = limits
        self._context: _TaskContext | None = None
        precision = getattr(jax.config, "jax_default_matmul_precision", None)
        self._machine = Machine(
            platform=jax.default_backend(),
            device=jax.devices()[0].device_kind,
            matmul_precision=str(precision or "platform default"),
        )

    @property
    def machine(self) -> Machine:
        return self._machine

    def check_weights(self, entries: Iterable[Entry]) -> None:
        from celo.evaluation.factories import optimizer_factory

        for entry in {entry.text: entry for entry in entries}.values():
            if entry.weights is not None:
                try:
                    with contextlib.redirect_stdout(sys.stderr):
                        optimizer_factory(entry)
                except WeightsError:
                    raise
                except (Exception, SystemExit):  # a plugin's failure is recorded block by block
                    continue

    def compute(self, block: Block, listener: Listener) -> Computed | Failed:
        steps = Steps(listener)
        try:
            # What a plugin prints must not end up in the middle of the results.
            with contextlib.redirect_stdout(sys.stderr), _no_logged_tracebacks():
                if self._context is None or self._context.found is not block.task:
                    self._context = None  # frees the device's copy of the last task's data
                    self._context = _open_task(block.task, self._plan)
                return self._compute(block, self._context, steps)
        except CeloError as error:
            return steps.failed(error.message)
        except (Exception, SystemExit) as error:
            return steps.failed(one_line(error))

    def close(self) -> None:
        self._context = None

    def _compute(self, block: Block, context: _TaskContext, listener: Listener) -> Computed:
        from celo.evaluation import loop
        from celo.evaluation.factories import optimizer_factory, traced_members

        began = time.monotonic()
        batching = block.batching(self._machine.platform)
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
        listener.compiled(block, compile_s)
        _check_memory(program, self._limits.memory)
        evaluation, training = drive(program, block, listener)
        return Computed(
            evaluation=evaluation,
            training=training,
            times=BlockTimes(compile_s, time.monotonic() - began),
            temp_bytes=program.temp_bytes,
            state_bytes_per_parameter=program.state_bytes_per_parameter,
            peak_memory_bytes=peak_memory(),
        )


def _check_memory(program: Program, limit: int | None) -> None:
    needed = program.temp_bytes + program.argument_bytes
    if limit is not None and needed > limit:
        raise CeloError(
            f"not run: it needs {shown_size(needed)} by the compiler's estimate, and "
            f"--memory-limit allows {shown_size(limit)}"
        )


@dataclass
class _TaskContext:
    """What the blocks of one task share: the task, its rows, where runs start."""

    found: Found[TaskPlugin]
    task: Task
    batches: Batches
    starts: dict[tuple[int, ...], Start]


def _open_task(found: Found[TaskPlugin], plan: Plan) -> _TaskContext:
    from celo.evaluation.batches import open_batches
    from celo.tasks import build_task

    task = build_task(found.record, plan.selection)
    return _TaskContext(found, task, open_batches(task), {})


def drive(program: Program, block: Block, listener: Listener) -> tuple[np.ndarray, np.ndarray]:
    """Runs a compiled block to the end.

    Returns:
      (float32 [seeds, members, points, splits, 2], float32 [seeds, members, steps + 1]).
    """
    import jax

    from celo.evaluation.loop import point_steps

    steps = point_steps(block.schedule)
    runs = program.start()
    evaluation: list[np.ndarray] = []
    training: list[np.ndarray] = []
    first, count = 0, 1
    pending: list[tuple[int, int, Any]] = []
    mark = time.monotonic()
    failure: Exception | None = None
    while first < program.points or pending:
        # One call is always queued behind the one being read.
        while first < program.points and len(pending) < 2 and failure is None:
            rest = program.window - first % program.window
            count = min(count, rest, program.points - first)
            try:
                runs, losses = program.advance(runs, first, count)
            except Exception as error:  # raised once the call before it, which is fine, was read
                failure = error
                break
            pending.append((first, count, losses))
            first += count
        if failure is not None and not pending:
            raise failure
        start, size, losses = pending.pop(0)
        values = jax.device_get(losses)
        evaluation.append(values.evaluation[:, :, :size])
        training.append(values.training[:, :, :size])
        now = time.monotonic()
        per_point, mark = (now - mark) / size, now
        count = max(1, int(_SECONDS_PER_CALL / max(per_point, 1e-6)))
        progress = _progress(evaluation[-1], steps, start, size, per_point, block)
        tell(listener.advanced, block, progress)
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


def tell(hear: Callable[..., None], *what: Any) -> None:
    """Reports progress; an observer that fails must not turn healthy runs into failed ones."""
    with contextlib.suppress(Exception):
        hear(*what)


def one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if any(line.endswith("Traceback (most recent call last):") for line in lines):
        lines = lines[-1:]  # of a callback inside the compiled loop: what it raised comes last
        return lines[0][:500]
    return f"{type(error).__name__}: {' '.join(lines)}"[:500]


@contextlib.contextmanager
def _no_logged_tracebacks() -> Iterator[None]:
    """Keeps JAX from logging what a callback raised: it is raised as well, and recorded."""
    loggers = [logging.getLogger(f"jax._src.{name}") for name in ("callback", "debugging")]

    def silent(record: logging.LogRecord) -> bool:
        return not record.exc_info

    for logger in loggers:
        logger.addFilter(silent)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(silent)
