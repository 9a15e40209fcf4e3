"""Starts of a stage: run one after the other, or side by side; the better ones go on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from celo.metatrain.config import StageConfig
from celo.metatrain.plan import StagePlan, start_config
from celo.metatrain.program import Program
from celo.metatrain.run import DivergedError, Habits, Observer, Outcome, train
from celo.metatrain.stage import compile_stage, initial_theta, open_stage

Result = Outcome | DivergedError


@dataclass(frozen=True)
class Start:
    """One of the runs of a stage.

    Attributes:
      number: from 0.
      config: of the stage, with the start's own seed.
      init: weights it starts from, or None.
      folder: of the run.
    """

    number: int
    config: StageConfig
    init: str | None
    folder: Path


class Runner(Protocol):
    """Runs starts of one stage."""

    def run(self, starts: Sequence[Start], until: int | None) -> Mapping[int, Result]:
        """Runs starts up to an iteration, or to their end: number -> what came of it."""
        ...


def starts_of(plan: StagePlan, inits: Sequence[str | None], folder: Path) -> list[Start]:
    """The starts of a stage: `restarts` of them, and at least one from each of the weights.

    Args:
      plan: of the stage.
      inits: weights to start from in turn.
      folder: of the stage; the run itself if there is only one.
    """
    count = max(plan.restarts, len(inits))
    return [
        Start(
            number=n,
            config=start_config(plan, n),
            init=inits[n % len(inits)],
            folder=folder if count == 1 else folder / f"start-{n}",
        )
        for n in range(count)
    ]


def compete(
    plan: StagePlan, starts: Sequence[Start], runner: Runner, observer: Observer
) -> tuple[dict[int, Outcome], float]:
    """Successive halving, until as many as the plan's finalists are left; these run to the end.

    Returns:
      Outcome of each finalist by its number, and the seconds that all starts took together.

    Raises:
      DivergedError: every start did.
      CeloError: see `celo.metatrain.run.train`.
    """
    alive = list(starts)
    spent: dict[int, float] = {}
    until = plan.rung
    while True:
        last = len(alive) <= plan.finalists
        results = runner.run(alive, None if last else until)
        found = {n: result for n, result in results.items() if isinstance(result, Outcome)}
        spent |= {n: outcome.seconds for n, outcome in found.items()}
        for n, result in results.items():
            if isinstance(result, DivergedError):
                if len(starts) == 1:
                    raise result
                observer.told(f"start {n}: {result.message}")
        if last:
            if not found:
                raise DivergedError(
                    f"every start of {starts[0].folder.parent} ended in non-finite meta-gradients",
                    hint="try a smaller --outer-lr or --sigma",
                )
            return found, sum(spent.values())
        losses = {n: found[n].loss if n in found else math.inf for n in sorted(results)}
        ranked = sorted(alive, key=lambda s: (math.isnan(losses[s.number]), losses[s.number]))
        kept = ranked[: max(plan.finalists, (len(alive) + 1) // 2)]
        alive = sorted(kept, key=lambda start: start.number)
        observer.told(
            f"after {until} iterations: "
            + ", ".join(f"start {n} {loss:.4f}" for n, loss in losses.items())
            + f"; going on with {', '.join(str(start.number) for start in alive)}"
        )
        until *= 2


class LocalRunner:
    """Runs starts in this process, one after the other; they share one compilation."""

    def __init__(self, habits: Habits, observer: Observer, devices: Sequence[Any] | None = None):
        self._habits = habits
        self._observer = observer
        self._devices = devices
        self._program: Program | None = None
        self._of: StageConfig | None = None

    def run(self, starts: Sequence[Start], until: int | None) -> dict[int, Result]:
        return {start.number: self.attempt(start, until) for start in starts}

    def attempt(self, start: Start, until: int | None) -> Result:
        """One start."""
        try:
            return self._run(start, until)
        except DivergedError as error:
            return error

    def _run(self, start: Start, until: int | None) -> Outcome:
        stage = open_stage(start.config)
        initial = initial_theta(stage, start.init)
        self._observer.told(f"{stage.subject.found.record.name} {initial.note}")
        alike = replace(start.config, seed=0)
        if self._program is None or self._of != alike:
            for name, reason in stage.missing.items():
                self._observer.told(f"left out {name}: {reason}")
            self._program, self._of = compile_stage(stage, self._devices), alike
            self._observer.told(
                f"compiled in {self._program.compile_s:.1f} s, "
                f"{self._program.memory_bytes / 1e6:.0f} MB, "
                f"{self._program.inner_steps:.0f} inner steps an iteration on "
                f"{', '.join(self._program.families)}"
            )
        return train(
            stage,
            initial,
            self._program,
            start.folder,
            until=until,
            habits=self._habits,
            observer=self._observer,
        )
