"""VeLO's normalisation: how many steps tuned Adam needs for the loss that an optimizer reached.

Source: Metz et al., "VeLO: Training Versatile Learned Optimizers by Scaling Up" (2022), and the
rules of its public plotting code. The published curves of 100,000 steps lie in
`adam_envelope.json`, with their source and licence; nothing has to be run to compare with them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Literal

import numpy as np

from celo.metrics.resampling import interval, iqm, rows
from celo.metrics.views import Result, Results, RunView, Value

PERCENTILES = tuple(range(5, 100, 5))
Baselines = Literal["multiple", "adam"]


@dataclass(frozen=True)
class Envelope:
    """The lowest loss that tuned baselines reach in so many steps.

    Attributes:
      steps: float64 [K], increasing.
      loss: float64 [K], never increasing.
    """

    steps: np.ndarray
    loss: np.ndarray


@lru_cache(maxsize=1)
def _file() -> dict[str, Any]:
    text = resources.files("celo.metrics").joinpath("adam_envelope.json").read_text("utf-8")
    return json.loads(text)


def source() -> Mapping[str, str]:
    """Where the published envelopes come from: `origin`, `licence`, `made`."""
    return {name: _file()[name] for name in ("origin", "licence", "made")}


@lru_cache(maxsize=2)
def published_envelopes(baselines: Baselines = "multiple") -> Mapping[str, Envelope]:
    """The published envelopes by task.

    Args:
      baselines: "multiple": the best of Adam, Adam with two decaying schedules and RAdam (17
        tasks); "adam": Adam with a constant learning rate alone (13 of them).
    """
    file = _file()
    steps = np.linspace(file["first_step"], file["last_step"], file["points"])
    name = {"multiple": "loss", "adam": "loss_adam_only"}[baselines]
    return {
        task: Envelope(steps, np.array(curves[name], np.float64))
        for task, curves in file["tasks"].items()
        if curves[name] is not None
    }


def build_envelope(
    losses: np.ndarray, steps: np.ndarray, *, points: int = 512, ema: float = 0.95
) -> Envelope:
    """The envelope of tuned curves, by the published rule.

    Mean over seeds; exponential moving average along the steps, where a NaN spoils the rest of its
    curve; smallest over the settings at every step, NaN left out; linear interpolation to equally
    spaced steps; running minimum.

    Args:
      losses: float [settings, seeds, K].
      steps: [K] at which they were evaluated, increasing.
      points: of the envelope.
      ema: decay of the moving average.
    """
    smoothed = np.asarray(losses, np.float64).mean(axis=1)
    for k in range(1, smoothed.shape[1]):
        smoothed[:, k] = ema * smoothed[:, k - 1] + (1.0 - ema) * smoothed[:, k]
    best = np.where(np.isnan(smoothed), np.inf, smoothed).min(axis=0)
    grid = np.linspace(float(steps[0]), float(steps[-1]), points)
    return Envelope(grid, np.minimum.accumulate(np.interp(grid, steps, best)))


def adam_steps(losses: Any, envelope: Envelope) -> np.ndarray:
    """Steps that the baselines need to reach losses.

    Linear interpolation of the step against the loss. A loss above the first of the envelope is 0
    steps, one below its last as many as it has (saturation), a non-finite one 0.

    Args:
      losses: float [...].
      envelope: of the task.

    Returns:
      float64 [...].
    """
    values = np.asarray(losses, np.float64)
    finite = np.isfinite(values)
    found = np.interp(np.where(finite, values, np.inf), envelope.loss[::-1], envelope.steps[::-1])
    return np.where(finite, found, 0.0)


def speedup(results: Results, *, baselines: Baselines = "multiple") -> Result:
    """Adam's steps over the steps trained, per task at the end and along the curve.

    Statistics over tasks: `last_*` of the mean final loss over the seeds (with intervals),
    `average_*` and `maximum_*` along the curve, as VeLO's code reports them: mean, standard
    deviation and percentiles 5, 10, ..., 95; and IQM. Curves are not smoothed. `saturated` counts
    tasks on which the loss is below the whole envelope, so that the figure is only a lower bound.

    Args:
      results: losses must be those of training on the task's own data; other tasks are left out.
      baselines: which published envelope.
    """
    envelopes = published_envelopes(baselines)
    known = [t for t in results.tasks if t in envelopes]
    tasks = [t for t in known if results.data.get(t) in ("real", "partial")]
    aggregate: dict[str, dict[str, Value]] = {}
    per_task: dict[tuple[str, str], dict[str, float | None]] = {}
    for optimizer in results.optimizers:
        own = [t for t in tasks if (optimizer, t) in results.runs]
        for task in own:
            runs = list(results.runs[optimizer, task].values())
            per_task[optimizer, task] = _of_task(runs, envelopes[task])
        aggregate[optimizer] = _over_tasks(results, optimizer, own, envelopes, per_task)
    return Result(
        aggregate,
        shown=("last_iqm", "last_mean", "average_mean", "maximum_mean", "saturated"),
        tasks=per_task,
        notes=tuple(_notes(results, known, tasks)),
    )


def _of_task(runs: list[RunView], envelope: Envelope) -> dict[str, float | None]:
    curves = [run for run in runs if run.status != "failed"]
    if len(curves) < len(runs):  # the mean over the seeds is not finite
        return {"last": 0.0, "average": 0.0, "maximum": 0.0, "saturated": 0.0}
    steps = curves[0].steps[curves[0].steps > 0]
    losses = np.array([run.losses[run.steps > 0] for run in curves], np.float64)
    mean: np.ndarray = losses.mean(axis=0)
    times = adam_steps(mean, envelope) / steps
    below = np.isfinite(mean[-1]) and mean[-1] < envelope.loss[-1]
    return {
        "last": float(times[-1]),
        "average": float(times.mean()),
        "maximum": float(times.max()),
        "saturated": float(below),
    }


def _over_tasks(
    results: Results,
    optimizer: str,
    tasks: list[str],
    envelopes: Mapping[str, Envelope],
    per_task: Mapping[tuple[str, str], Mapping[str, float | None]],
) -> dict[str, Value]:
    found: dict[str, Value] = {}
    samples = _resampled(results, optimizer, tasks, envelopes)
    for name in ("last", "average", "maximum"):
        values = np.array([per_task[optimizer, task][name] for task in tasks], np.float64)
        for statistic, function in _STATISTICS.items():
            bounds = (None, None)
            if samples is not None and name == "last":
                bounds = interval(function(samples))
            point = float(function(values)) if tasks else None
            found[f"{name}_{statistic}"] = Value(point, *bounds)
    full = [per_task[optimizer, task]["saturated"] for task in tasks]
    found["saturated"] = Value(float(sum(x or 0.0 for x in full)) if tasks else None)
    return found


_STATISTICS = {
    "iqm": iqm,
    "mean": lambda values: values.mean(axis=-1),
    "std": lambda values: values.std(axis=-1),
    **{f"p{q:02d}": lambda values, q=q: np.percentile(values, q, axis=-1) for q in PERCENTILES},
}


def _resampled(
    results: Results, optimizer: str, tasks: list[str], envelopes: Mapping[str, Envelope]
) -> np.ndarray | None:
    """Speedups at the end for resampled seeds: [reps, tasks]; None without tasks."""
    columns = []
    for task in tasks:
        runs = results.runs[optimizer, task].values()
        finals = [run.losses[-1] if run.status != "failed" else np.nan for run in runs]
        drawn = np.array(finals, np.float64)[rows(task, len(finals), results.reps)]
        columns.append(adam_steps(drawn.mean(axis=1), envelopes[task]) / results.horizon)
    return np.stack(columns, axis=1) if columns else None


def _notes(results: Results, known: list[str], tasks: list[str]) -> list[str]:
    notes = []
    if len(known) < len(results.tasks):
        missing = len(results.tasks) - len(known)
        notes.append(
            f"velo-speedup: {missing} of {len(results.tasks)} tasks have no published envelope"
        )
    if len(tasks) < len(known):
        notes.append(
            f"velo-speedup: {len(known) - len(tasks)} tasks ran on other data than the envelopes "
            "and are left out"
        )
    partial = sum(results.data[task] == "partial" for task in tasks)
    if partial:
        notes.append(
            f"velo-speedup: {partial} tasks ran on partial data, the envelopes on all of it"
        )
    if tasks and results.split != "train":
        notes.append(
            f"velo-speedup: the envelopes are of training losses, these are {results.split} losses"
        )
    return notes
