"""From selected runs to what metrics say about them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from celo import registry
from celo.errors import BrokenPluginError, CeloError
from celo.evaluation.choosing import ChosenMetric
from celo.evaluation.scores import ScoreOptions, final_loss_of, speedup_of
from celo.evaluation.selection import Picked, Place
from celo.metrics.views import Result, Results, RunView, Scores

_BASE = {"final_loss": final_loss_of, "speedup": speedup_of}


@dataclass(frozen=True)
class Measured:
    """What the metrics say.

    Attributes:
      results: what comparison metrics saw, with the scores of every run metric.
      found: name of a comparison metric -> what it gave back.
    """

    results: Results
    found: Mapping[str, Result]


def view_of(seed: int, run: Picked, options: ScoreOptions) -> RunView:
    """A run as metrics see it."""
    key, curve = run.cell.key, run.curve
    failed = run.cell.status == "failed"
    losses = np.zeros(0) if failed else run.cell.curves[f"eval/{options.split}/loss"]
    return RunView(
        task=key.task,
        optimizer=key.entry,
        seed=seed,
        horizon=key.schedule.steps if options.horizon is None else options.horizon,
        steps=curve.xs.astype(np.int64),
        # Where runs are cut short, so is the curve.
        losses=np.asarray(losses[: len(curve.xs)]),
        smoothed=curve.smoothed,
        final_loss=curve.final_loss,
        # A split may overflow where the training loss did not: that is a divergence too.
        status="failed" if failed else "diverged" if curve.diverged else "done",
    )


def measure(
    picked: Mapping[Place, Mapping[int, Picked]],
    *,
    optimizers: Sequence[str],
    tasks: Sequence[str],
    reference: str | None,
    options: ScoreOptions,
    metrics: Sequence[ChosenMetric],
    reps: int,
) -> Measured:
    """Applies metrics to runs.

    Args:
      picked: the runs that are scored.
      optimizers: entries, in table order.
      tasks: in table order.
      reference: entry that scores are relative to, or None.
      options: how curves became scores.
      metrics: that were asked for; Celo's two scores are always computed.
      reps: repetitions of a bootstrap.

    Raises:
      BrokenPluginError: a metric fails or gives back something else.
    """
    runs = {
        place: {seed: view_of(seed, run, options) for seed, run in by_seed.items()}
        for place, by_seed in picked.items()
        if place[0] in optimizers and place[1] in tasks
    }
    functions: dict[str, Any] = dict(_BASE)
    for metric in metrics:
        if metric.record.kind == "run" and metric.name not in functions:
            functions[metric.name] = _guarded(metric)
    cells = [run.cell for by_seed in picked.values() for run in by_seed.values()]
    steps = cells[0].key.schedule.steps if cells else 0
    results = Results(
        optimizers=tuple(optimizers),
        tasks=tuple(tasks),
        reference=reference,
        horizon=steps if options.horizon is None else options.horizon,
        split=options.split,
        data={cell.key.task: cell.key.data.kind for cell in cells},
        runs=runs,
        scores={
            name: _scores(function, runs, optimizers, tasks, reference)
            for name, function in functions.items()
        },
        reps=reps,
    )
    found: dict[str, Result] = {}
    for metric in metrics:
        if metric.record.kind == "comparison":
            result = _call(metric, results)
            if not isinstance(result, Result):
                raise _broken(metric, f"gave back {result!r}, expected a celo.metrics.views.Result")
            found[metric.name] = result
    return Measured(results, found)


def _scores(
    function: Any,
    runs: Mapping[Place, Mapping[int, RunView]],
    optimizers: Sequence[str],
    tasks: Sequence[str],
    reference: str | None,
) -> Scores:
    found: dict[str, dict[str, dict[int, float]]] = {}
    for optimizer in optimizers:
        for task in tasks:
            anchors = runs.get((reference or "", task), {})
            for seed, run in runs.get((optimizer, task), {}).items():
                score = function(run, anchors.get(seed))
                if score is not None:
                    by_task = found.setdefault(optimizer, {})
                    by_task.setdefault(task, {})[seed] = score
    return found


def _guarded(metric: ChosenMetric) -> Any:
    def score(run: RunView, reference: RunView | None) -> float | None:
        value = _call(metric, run, reference)
        if value is None:
            return None
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise _broken(
                metric,
                f"gave back {value!r} for {run.optimizer} on {run.task}, expected a finite number "
                "or None",
            )
        return number

    return score


def _call(metric: ChosenMetric, *arguments: Any) -> Any:
    function = registry.resolve(metric.record.compute)
    try:
        return function(*arguments, **metric.options)
    except CeloError:
        raise
    except Exception as error:
        raise _broken(metric, f"failed: {type(error).__name__}: {error}") from error


def _broken(metric: ChosenMetric, what: str) -> BrokenPluginError:
    origin = metric.found.origin
    return BrokenPluginError(
        f"the metric {metric.record.name!r} of {origin.distribution} {origin.version} {what}",
        hint="leave it out of --metrics, or update that package",
    )
