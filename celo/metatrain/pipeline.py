"""Runs a plan: every stage, its starts by successive halving, and the choice of weights at the end.

RUN/plan.json                  what is done here; another plan is refused
RUN/stage-1/, RUN/stage-2/     a run each (`celo.metatrain.run`), or start-0/, start-1/, ...
RUN/selection/                 evaluations of the weights that were kept
RUN/theta.safetensors          the weights chosen
RUN/summary.json               losses, cost, which weights were chosen and why
"""

from __future__ import annotations

import contextlib
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
from celo.metatrain.plan import MetaTrainPlan, Selection
from celo.metatrain.processes import is_leader
from celo.metatrain.run import (
    WEIGHTS_FILE,
    Habits,
    Observer,
    Outcome,
    SilentObserver,
    fix_identity,
)
from celo.metatrain.side_by_side import SideBySide
from celo.metatrain.stage import open_stage
from celo.metatrain.starts import LocalRunner, Runner, compete, starts_of

Line = tuple[Outcome, ...]
"""What one finalist has come to in each stage."""

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
    workers: int = 1,
) -> MetaTrainResult:
    """Runs a plan, or goes on with it.

    Args:
      plan: what to do.
      habits: checkpoints, callbacks, loggers.
      observer: hears how it goes.
      evaluate: needed by plans that choose weights on selection tasks.
      devices: particles are spread over them; None means one.
      workers: processes that run starts of a stage side by side; each has its share of the cores.

    Raises:
      CeloError: see `celo.metatrain.stage` and `celo.metatrain.run.train`.
    """
    observer = observer or SilentObserver()
    habits = habits or Habits()
    if plan.selection is not None and evaluate is None:
        raise UsageError("this recipe chooses weights on selection tasks: pass evaluate")
    if plan.single:
        starts = starts_of(plan.stages[0], [plan.init], plan.output)
        own = replace(habits, keep_every=plan.stages[0].keep_every or habits.keep_every)
        found, seconds = compete(
            plan.stages[0], starts, LocalRunner(own, observer, devices), observer
        )
        return _finish(plan, (found[0],), seconds, "last", {})
    fix_identity(plan.output / "plan", _plan_identity(plan))
    lines: list[Line] = [()]
    total = 0.0
    for number, stage in enumerate(plan.stages, 1):
        observer.told(
            f"stage {number} of {len(plan.stages)}: {stage.config.plugin} phase "
            f"{stage.config.phase}, {stage.config.iterations} iterations"
        )
        inits = [str(line[-1].folder / WEIGHTS_FILE) if line else plan.init for line in lines]
        starts = starts_of(stage, inits, plan.output / f"stage-{number}")
        own = replace(habits, keep_every=stage.keep_every or habits.keep_every)
        with _runner(own, observer, devices, workers, len(starts)) as runner:
            found, seconds = compete(stage, starts, runner, observer)
        total += seconds
        lines = [(*lines[n % len(lines)], outcome) for n, outcome in sorted(found.items())]
    if plan.selection is not None and evaluate is not None:
        line, chosen, scores = _choose(plan, plan.selection, lines, evaluate, observer)
    else:
        line, chosen, scores = min(lines, key=lambda line: line[-1].loss), "last", {}
    return _finish(plan, line, total, chosen, scores)


def _runner(
    habits: Habits,
    observer: Observer,
    devices: Sequence[Any] | None,
    workers: int,
    starts: int,
) -> contextlib.AbstractContextManager[Runner]:
    """What runs the starts of a stage: this process, or several others."""
    # Evaluations meanwhile need a process that waits for them.
    if min(workers, starts) == 1 or habits.callback is not None:
        return contextlib.nullcontext(LocalRunner(habits, observer, devices))
    return SideBySide(habits, observer, min(workers, starts))


def _choose(
    plan: MetaTrainPlan,
    selection: Selection,
    lines: Sequence[Line],
    evaluate: Evaluate,
    observer: Observer,
) -> tuple[Line, str, dict[str, float]]:
    """The file of the weights with the best final losses, whose line it is, and all scores."""
    of: dict[str, Line] = {}
    for line in lines:
        folder = line[-1].folder
        last = folder / WEIGHTS_FILE
        kept = sorted((folder / "thetas").glob("*.safetensors"))
        files = [path for path in kept if path.read_bytes() != last.read_bytes()]
        of |= {str(path.relative_to(plan.output)): line for path in [*files, last]}
    config = plan.stages[-1].config
    texts = {path: text_with_weights(config, str(plan.output / path)) for path in of}
    losses = evaluate(list(texts.values()), selection, plan.output / "selection")
    # The mean of logarithms: a task with large losses has no larger say.
    scores = {
        path: sum(
            math.log(max(loss, 1e-12)) if math.isfinite(loss) else math.inf
            for loss in losses[text].values()
        )
        / len(losses[text])
        for path, text in texts.items()
    }
    best = min(scores, key=lambda path: scores[path])
    observer.told(f"chosen by final loss on {', '.join(selection.tasks)}: {best}")
    return of[best], best, scores


def _finish(
    plan: MetaTrainPlan,
    line: Line,
    seconds: float,
    chosen: str,
    scores: Mapping[str, float],
) -> MetaTrainResult:
    last = line[-1]
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
        "losses": [outcome.loss for outcome in line],
        "iterations": [outcome.iterations for outcome in line],
        "non_finite": [outcome.non_finite for outcome in line],
        "runs": [str(outcome.folder.relative_to(plan.output)) for outcome in line],
        "device_hours": round(seconds / 3600, 4),
        "chosen": chosen,
        "selection": dict(scores),
    }
    if not is_leader():
        return MetaTrainResult(plan.output, weights, theta, _losses(line), seconds, chosen)
    with write_errors(plan.output):
        text = json.dumps(summary, indent=2)
        write_atomically(plan.output / "summary.json", lambda file: file.write(text.encode()))
    return MetaTrainResult(plan.output, weights, theta, _losses(line), seconds, chosen)


def _losses(line: Line) -> tuple[float, ...]:
    return tuple(outcome.loss for outcome in line)


def _plan_identity(plan: MetaTrainPlan) -> dict[str, Any]:
    return {
        "stages": [asdict(stage) for stage in plan.stages],
        "init": plan.init,
        "selection": None if plan.selection is None else asdict(plan.selection),
    }
