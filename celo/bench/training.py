"""What an optimizer's part of a training step is, inside the loop of `celo eval`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax

from celo.bench.timing import Turn, spread, take_turns
from celo.bench.update import load_or_draw
from celo.data.selection import DataSelection
from celo.evaluation import loop
from celo.evaluation.batches import open_batches
from celo.evaluation.cells import Schedule
from celo.loading import find_task
from celo.tasks import build_task

if TYPE_CHECKING:
    from celo.protocol import Optimizer

ADAM, PLAIN = "optax:adam:lr=0.001", "sgd:lr=0.001"


@dataclass(frozen=True)
class TrainingCost:
    """One optimizer on one task: gradient, update and the drawing of batches, no evaluation.

    Attributes:
      task: its name.
      optimizer: its text.
      params: number of parameters of the task.
      batch_size: rows of a batch.
      ms_per_step: milliseconds of a training step, median.
      ratio_to_adam: time over that of a step with Adam of the same turn, median.
      ratio_low: lower quartile of that ratio.
      ratio_high: upper quartile.
      optimizer_share: part of the step that a step of plain gradient descent does without.
      compile_s: seconds to trace and compile the loop.
    """

    task: str
    optimizer: str
    params: int
    batch_size: int
    ms_per_step: float
    ratio_to_adam: float
    ratio_low: float
    ratio_high: float
    optimizer_share: float
    compile_s: float


@dataclass
class _Training:
    """The compiled loop of one optimizer, started and going on from turn to turn."""

    program: loop.Program
    runs: Any
    compile_s: float

    def turn(self) -> None:
        self.runs, losses = self.program.advance(self.runs, 0, 1)
        jax.block_until_ready(losses)


def measure_training(
    optimizers: Sequence[str], task_name: str, *, data: str, steps: int, turns: int = 15
) -> Iterator[TrainingCost]:
    """Measures optimizers on a task one by one, each by turns with Adam and gradient descent.

    A turn is one point of evaluation (one batch) and `steps` training steps behind it.

    Args:
      optimizers: their texts.
      task_name: of the task.
      data: what it is trained on (`DataSelection.parse`).
      steps: of a turn.
      turns: rounds for each.

    Yields:
      One row an optimizer, as soon as it is measured; the first is Adam itself.

    Raises:
      UnknownNameError, DataError: there is no such task, or its data are missing.
    """
    record = find_task(task_name).record
    task = build_task(record, DataSelection.parse(data))
    schedule = Schedule(10 * steps, eval_every=steps, eval_batches=1, last_eval_batches=1)
    start = loop.prepare(task, open_batches(task), (0,), schedule)
    count = sum(x[0].size for x in jax.tree.leaves(start.params[0]))

    def compiled(optimizer: Optimizer) -> _Training:
        began = time.perf_counter()
        program = loop.compile_program(start, lambda *_: optimizer, None, {}, "map")
        return _Training(program, program.start(), time.perf_counter() - began)

    adam, plain = compiled(load_or_draw(ADAM)[0]), compiled(load_or_draw(PLAIN)[0])
    for text in (ADAM, *optimizers):
        optimizer, shown = load_or_draw(text)
        own = adam if text == ADAM else compiled(optimizer)
        turned: list[Turn] = [own.turn, adam.turn, plain.turn]
        seconds = take_turns(turned, turns)
        ratio = spread(seconds[:, 0] / seconds[:, 1])
        yield TrainingCost(
            task=record.name,
            optimizer=shown,
            params=count,
            batch_size=record.batch_size,
            ms_per_step=spread(seconds[:, 0]).median / steps * 1e3,
            ratio_to_adam=ratio.median,
            ratio_low=ratio.low,
            ratio_high=ratio.high,
            optimizer_share=max(0.0, 1 - spread(seconds[:, 2] / seconds[:, 0]).median),
            compile_s=own.compile_s,
        )
