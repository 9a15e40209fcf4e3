"""Runs a plan: every stage, its starts by successive halving, and the choice of weights at the end.

RUN/plan.json                  what is done here; another plan is refused
RUN/stage-1/, RUN/stage-2/     a run each (`celo.metatrain.run`), or start-0/, start-1/, ...
RUN/selection/                 evaluations of the weights that were kept
RUN/theta.safetensors          the weights chosen
RUN/summary.json               losses, cost, which weights were chosen and why
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from celo.errors import UsageError
from celo.files import write_atomically
from celo.metatrain.checkpoints import write_errors
from celo.metatrain.config import text_with_weights
from celo.metatrain.plan import MetaTrainPlan, Selection, StagePlan, start_config
from celo.metatrain.processes import is_leader
from celo.metatrain.program import Program
from celo.metatrain.run import (
    WEIGHTS_FILE,
    DivergedError,
    Habits,
    Observer,
    Outcome,
    SilentObserver,
    fix_identity,
    train,
)
from celo.metatrain.stage import Stage, compile_stage, initial_theta, open_stage

Evaluate = Callable[[Sequence[str], Selection, Path], Mapping[str, Mapping[str, float]]]
"""(texts of optimizers, tasks, run folder) -> text -> task -> mean final loss over the seeds."""


@dataclass(frozen=True)
class MetaTrainResult:
    """What a meta-training has come to.

    Attributes:
      folder: `NAME@FOLDER` is the optimizer from now on.
      weights: the file of the weights.
      theta: the weights.
      losses: mean meta-loss at the end of each stage.
      seconds: spent on iterations, all starts together, compiling left out.
      chosen: which weights the selection chose, or "last".
    """

    folder: Path
    weights: Path
    theta: Any
    losses: tuple[float, ...]
    seconds: float
    chosen: str


def run_plan(
    plan: MetaTrainPlan,
    *,
    habits: Habits | None = None,
    observer: Observer | None = None,
    evaluate: Evaluate | None = None,
    devices: Sequence[Any] | None = None,
) -> MetaTrainResult:
    """Runs a plan, or goes on with it.

    Args:
      plan: what to do.
      habits: checkpoints, callbacks, loggers.
      observer: hears how it goes.
      evaluate: needed by plans that choose weights on selection tasks.
      devices: particles are spread over them; None means one.

    Raises:
      CeloError: see `celo.metatrain.stage` and `celo.metatrain.run.train`.
    """
    observer = observer or SilentObserver()
    habits = habits or Habits()
    if plan.selection is not None and evaluate is None:
        raise UsageError("this recipe chooses weights on selection tasks: pass evaluate")
    if plan.single:
        runner = _StageRunner(plan.stages[0], plan.init, habits, observer, devices)
        outcome = runner.run_start(0, plan.output, None)
        return _finish(plan, [outcome], outcome.seconds, outcome, "last", {})
    fix_identity(plan.output / "plan", _plan_identity(plan))
    init, outcomes, seconds = plan.init, [], 0.0
    for number, stage in enumerate(plan.stages, 1):
        observer.told(
            f"stage {number} of {len(plan.stages)}: {stage.config.plugin} phase "
            f"{stage.config.phase}, {stage.config.iterations} iterations"
        )
        runner = _StageRunner(stage, init, habits, observer, devices)
        outcome = runner.run(plan.output / f"stage-{number}")
        outcomes.append(outcome)
        seconds += runner.seconds
        init = str(outcome.folder / WEIGHTS_FILE)
    last, chosen, scores = outcomes[-1], "last", {}
    if plan.selection is not None and evaluate is not None:
        chosen, scores = _choose(plan, plan.selection, last, evaluate, observer)
    return _finish(plan, outcomes, seconds, last, chosen, scores)


class _StageRunner:
    """A stage with all its starts; the program is compiled once."""

    def __init__(
        self,
        plan: StagePlan,
        init: str | None,
        habits: Habits,
        observer: Observer,
        devices: Sequence[Any] | None,
    ):
        self.seconds = 0.0
        self._plan = plan
        self._init = init
        self._habits = replace(habits, keep_every=plan.keep_every or habits.keep_every)
        self._observer = observer
        self._devices = devices
        self._stage: Stage | None = None
        self._program: Program | None = None

    def run(self, folder: Path) -> Outcome:
        if self._plan.restarts == 1:
            outcome = self.run_start(0, folder, None)
            self.seconds = outcome.seconds
            return outcome
        alive = list(range(self._plan.restarts))
        spent: dict[int, float] = {}
        until = self._plan.rung
        while True:
            last = len(alive) == 1
            results = {
                n: self._attempt(n, folder / f"start-{n}", None if last else until) for n in alive
            }
            spent |= {n: outcome.seconds for n, outcome in results.items() if outcome is not None}
            if last:
                [outcome] = results.values()
                if outcome is None:
                    raise DivergedError(
                        f"every start of {folder} ended in non-finite meta-gradients",
                        hint="try a smaller --outer-lr or --sigma",
                    )
                self.seconds = sum(spent.values())
                return outcome
            losses = {n: math.inf if o is None else o.loss for n, o in results.items()}
            ranked = sorted(alive, key=lambda n: (math.isnan(losses[n]), losses[n]))
            alive = sorted(ranked[: (len(alive) + 1) // 2])
            self._observer.told(
                f"after {until} iterations: "
                + ", ".join(f"start {n} {losses[n]:.4f}" for n in sorted(losses))
                + f"; going on with {', '.join(map(str, alive))}"
            )
            until *= 2

    def run_start(self, number: int, folder: Path, until: int | None) -> Outcome:
        """One start, up to an iteration or to the end."""
        stage = open_stage(start_config(self._plan, number))
        initial = initial_theta(stage, self._init)
        self._observer.told(f"{stage.subject.found.record.name} {initial.note}")
        if self._program is None:
            for name, reason in stage.missing.items():
                self._observer.told(f"left out {name}: {reason}")
            self._program = compile_stage(stage, self._devices)
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
            folder,
            until=until,
            habits=self._habits,
            observer=self._observer,
        )

    def _attempt(self, number: int, folder: Path, until: int | None) -> Outcome | None:
        try:
            return self.run_start(number, folder, until)
        except DivergedError as error:
            self._observer.told(f"start {number}: {error.message}")
            return None


def _choose(
    plan: MetaTrainPlan,
    selection: Selection,
    last: Outcome,
    evaluate: Evaluate,
    observer: Observer,
) -> tuple[str, dict[str, float]]:
    """The file of the weights with the best final losses, and the score of each."""
    kept = sorted((last.folder / "thetas").glob("*.safetensors"))
    files = [*kept, last.folder / WEIGHTS_FILE]
    texts = {text_with_weights(plan.stages[-1].config, str(path)): path for path in files}
    losses = evaluate(list(texts), selection, plan.output / "selection")
    # The mean of logarithms: a task with large losses has no larger say.
    scores = {
        str(path.relative_to(plan.output)): sum(
            math.log(max(loss, 1e-12)) if math.isfinite(loss) else math.inf
            for loss in losses[text].values()
        )
        / len(losses[text])
        for text, path in texts.items()
    }
    best = min(scores, key=lambda path: scores[path])
    observer.told(f"chosen by final loss on {', '.join(selection.tasks)}: {best}")
    return best, scores


def _finish(
    plan: MetaTrainPlan,
    outcomes: Sequence[Outcome],
    seconds: float,
    last: Outcome,
    chosen: str,
    scores: Mapping[str, float],
) -> MetaTrainResult:
    weights, theta = plan.output / WEIGHTS_FILE, last.theta
    source = last.folder / WEIGHTS_FILE if chosen == "last" else plan.output / chosen
    if source != weights and is_leader():
        with write_errors(plan.output):
            data = source.read_bytes()
            write_atomically(weights, lambda file: file.write(data))
    if chosen != "last":
        from celo.lopt import theta_from_tree
        from celo_zoo import load_weights

        lopt = open_stage(plan.stages[-1].config).lopt
        theta = theta_from_tree(lopt, load_weights(str(weights)).tree)
    summary = {
        "schema": 1,
        "recipe": plan.name,
        "stages": [asdict(stage) for stage in plan.stages],
        "losses": [outcome.loss for outcome in outcomes],
        "iterations": [outcome.iterations for outcome in outcomes],
        "non_finite": [outcome.non_finite for outcome in outcomes],
        "runs": [str(outcome.folder.relative_to(plan.output)) for outcome in outcomes],
        "device_hours": round(seconds / 3600, 4),
        "chosen": chosen,
        "selection": dict(scores),
    }
    if not is_leader():
        return MetaTrainResult(plan.output, weights, theta, _losses(outcomes), seconds, chosen)
    with write_errors(plan.output):
        text = json.dumps(summary, indent=2)
        write_atomically(plan.output / "summary.json", lambda file: file.write(text.encode()))
    return MetaTrainResult(plan.output, weights, theta, _losses(outcomes), seconds, chosen)


def _losses(outcomes: Sequence[Outcome]) -> tuple[float, ...]:
    return tuple(outcome.loss for outcome in outcomes)


def _plan_identity(plan: MetaTrainPlan) -> dict[str, Any]:
    return {
        "stages": [asdict(stage) for stage in plan.stages],
        "init": plan.init,
        "selection": None if plan.selection is None else asdict(plan.selection),
    }
