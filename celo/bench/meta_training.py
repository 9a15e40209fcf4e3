"""What an outer iteration of meta-training costs, beside a matrix product of the same process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax

from celo.bench.machine import MATMUL, multiplying
from celo.bench.timing import spread, take_turns
from celo.errors import UsageError
from celo.loading import find
from celo.metatrain.config import StageConfig
from celo.metatrain.program import Program
from celo.metatrain.stage import Stage, compile_stage, open_stage
from celo.spec import parse

FAMILIES = 4
_ITERATIONS = 2


@dataclass(frozen=True)
class MetaTrainingCost:
    """One phase of one learned optimizer: windows, estimate, step of theta.

    Attributes:
      optimizer: its name.
      phase: of its meta-training.
      families: tasks that are trained on, each with all particles at both signs.
      inner_steps: training steps of an iteration, of all inner problems together.
      ms: milliseconds of an iteration, median.
      ratio_to_matmul: time over that of one 2048 x 2048 x 2048 float32 matrix product of the same
        turn, median.
      ratio_low: lower quartile of that ratio.
      ratio_high: upper quartile.
      inner_steps_per_second: of all inner problems together.
      compile_s: seconds to trace and compile.
      memory_mb: 1e6 bytes of arguments and temporaries, as the compiler states them.
    """

    optimizer: str
    phase: int
    families: int
    inner_steps: int
    ms: float
    ratio_to_matmul: float
    ratio_low: float
    ratio_high: float
    inner_steps_per_second: float
    compile_s: float
    memory_mb: float


@dataclass
class _Outer:
    """A compiled run of meta-training, going on from turn to turn."""

    program: Program
    state: Any
    key: jax.Array

    def turn(self) -> None:
        self.state, _ = self.program.advance(self.state, self.key, _ITERATIONS)


def phases_of(text: str) -> tuple[int, ...]:
    """Numbers of the phases in which an optimizer can be meta-trained; none where it cannot.

    Raises:
      UnknownNameError: there is no such optimizer.
    """
    return tuple(phase.number for phase in find(parse(text))[1].record.phases)


def measure_meta_training(
    optimizers: Sequence[str], *, data: str = "synthetic", particles: int = 8, turns: int = 15
) -> Iterator[MetaTrainingCost]:
    """Measures all phases of learned optimizers, each by turns with a matrix product.

    The problem is that of Celo's meta-training: 4 families of 8x8 MLPs, `particles` pairs in each,
    windows of 50 steps with batches of 64. Weights start random: what an iteration costs does not
    depend on them. Where data of a family are missing, another one takes its place.

    Args:
      optimizers: names.
      data: what is trained on (`DataSelection.parse`).
      particles: of each family.
      turns: rounds for each.

    Yields:
      One row a phase, as soon as it is measured.

    Raises:
      UsageError: one of them has no phases.
      UnknownNameError, DataError: there is no such optimizer, or no data at all.
    """
    for text in optimizers:
        phases = phases_of(text)
        if not phases:
            raise UsageError(
                f"{text!r} cannot be meta-trained, so there is nothing to measure",
                hint="`celo plugins list` shows which optimizers are learned",
            )
        for phase in phases:
            # Patience, because random weights may well make losses that are not finite.
            config = StageConfig(
                text, phase, particles=particles, data=data, patience=10**6, iterations=10**6
            )
            yield _measured(_four_families(open_stage(config)), turns)


def _four_families(stage: Stage) -> Stage:
    there = stage.tasks
    return replace(stage, tasks=tuple(there[i % len(there)] for i in range(FAMILIES)))


def _measured(stage: Stage, turns: int) -> MetaTrainingCost:
    program = compile_stage(stage)
    key = jax.random.PRNGKey(0)
    outer = _Outer(program, program.start(stage.lopt.init(key), key), key)
    product, _ = multiplying(MATMUL)

    def products() -> None:
        for _ in range(_ITERATIONS):
            product()

    seconds = take_turns([outer.turn, products], turns)
    ratio = spread(seconds[:, 0] / seconds[:, 1])
    median = spread(seconds[:, 0]).median / _ITERATIONS
    return MetaTrainingCost(
        optimizer=stage.config.plugin,
        phase=stage.config.phase,
        families=len(program.families),
        inner_steps=round(program.inner_steps),
        ms=median * 1e3,
        ratio_to_matmul=ratio.median,
        ratio_low=ratio.low,
        ratio_high=ratio.high,
        inner_steps_per_second=program.inner_steps / median,
        compile_s=program.compile_s,
        memory_mb=program.memory_bytes / 1e6,
    )
