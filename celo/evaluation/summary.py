"""From cells to a comparison: what `celo eval` and `celo report` print, before it is rendered.

Neither JAX nor pandas is imported here (rliable is, when a statistic is not in the cache).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from celo.errors import UsageError
from celo.evaluation import remarks, statistics
from celo.evaluation.apart import each_kind_apart
from celo.evaluation.cells import Cell, DataIdentity, Status
from celo.evaluation.provenance import Cost, cost, label, provenance
from celo.evaluation.scores import ScoreOptions, scores
from celo.evaluation.selection import (
    Picked,
    Place,
    Runs,
    check_comparable,
    choose_runs,
    run_hash,
    tuned,
    unique,
)

METRICS = ("final_loss", "speedup")
STATISTICS = (*statistics.AGGREGATES, "probability_of_improvement")


@dataclass(frozen=True)
class Aggregate:
    """One statistic of one optimizer over all its tasks and seeds.

    Attributes:
      optimizer: entry.
      metric: "final_loss" or "speedup", `_` and one of `STATISTICS`.
      split: that was scored.
      value: the statistic, or None where there are no scores.
      low: lower end of its 95 % interval, or None.
      high: upper end.
      cells: runs aggregated.
      diverged: how many of them diverged.
      failed: how many of them raised.
      tuning_trials: hyperparameter settings tried per task.
      data: kind of data of the tasks that are aggregated.
    """

    optimizer: str
    metric: str
    split: str
    value: float | None
    low: float | None
    high: float | None
    cells: int
    diverged: int
    failed: int
    tuning_trials: int
    data: str = "real"


@dataclass(frozen=True)
class TaskResult:
    """One run that is scored: of a tuned optimizer, the selected grid point's.

    Attributes:
      task: name.
      optimizer: entry.
      seed: of the run.
      hyperparameters: of the selected grid point; {} without a grid.
      final_loss: smoothed; +inf for a lost run.
      final_loss_score: relative to the reference; None where the reference has no such run.
      speedup: likewise.
      status: "done", "diverged" or "failed".
    """

    task: str
    optimizer: str
    seed: int
    hyperparameters: Mapping[str, Any]
    final_loss: float
    final_loss_score: float | None
    speedup: float | None
    status: Status


@dataclass(frozen=True)
class Summary:
    """A comparison of optimizers.

    Attributes:
      run: hash of schedule, data splits and kind of data: what comparable results share.
      complete: everything asked for is there and nothing failed.
      steps: the horizon.
      kind: "real", "synthetic" or "substitute" data; "mixed" where there are several.
      reference: entry that scores are relative to; None without scores.
      options: how curves became scores.
      labels: entry -> how it is shown (`celo[bundled]`), in table order.
      data: task -> what it was trained on, in table order.
      aggregate: by optimizer and metric.
      tasks: by task, optimizer and seed.
      cost: by task and optimizer; differs from run to run.
      provenance: what produced the results.
      notes: what a reader must know, one sentence each.
      parts: where there are several kinds of data, a summary of each; nothing is computed over
        more than one of them.
    """

    run: str
    complete: bool
    steps: int
    kind: str
    reference: str | None
    options: ScoreOptions
    labels: Mapping[str, str]
    data: Mapping[str, DataIdentity]
    aggregate: tuple[Aggregate, ...]
    tasks: tuple[TaskResult, ...]
    cost: tuple[Cost, ...]
    provenance: Mapping[str, Any]
    notes: tuple[str, ...]
    parts: tuple[Summary, ...] = ()


@each_kind_apart
def summarize(
    cells: Iterable[Cell],
    *,
    reference: str | None = "adam",
    options: ScoreOptions | None = None,
    entries: Sequence[str] = (),
    tasks: Sequence[str] = (),
    expected: remarks.Expected | None = None,
    complete: bool = True,
    notes: Sequence[str] = (),
    cache: statistics.Cache | None = None,
    reps: int = statistics.REPS,
) -> Summary:
    """Compares the optimizers whose cells are given.

    Args:
      cells: of one or several runs, in any order; a cell may occur repeatedly.
      reference: canonical text of the entry that scores are relative to; None for no scores.
      options: how curves become scores.
      entries: canonical texts of what is shown, in table order; () for all, sorted. The reference
        is added if it has cells.
      tasks: names of what is shown, in table order; () for all, sorted.
      expected: seeds asked for by (entry, task); None for every entry on every task, any seeds.
      complete: False if the caller knows that something is missing.
      notes: stand before the summary's own.
      cache: statistics by content, computed before; added to.
      reps: repetitions of the bootstrap.

    Raises:
      UsageError: there is nothing to compare, or the cells must not be compared.
    """
    options = options or ScoreOptions()
    shown = {*entries, reference}
    cells = unique(
        cell
        for cell in cells
        if (not tasks or cell.key.task in tasks) and (not entries or cell.key.entry in shown)
    )
    if not cells:
        raise UsageError("there are no results to show", hint="`celo eval` produces them")
    check_comparable(cells)
    present = {cell.key.entry for cell in cells}
    entries = list(dict.fromkeys(entries)) or sorted(present)
    if reference in present and reference not in entries:
        entries.append(reference)
    tasks = list(dict.fromkeys(tasks)) or sorted({cell.key.task for cell in cells})
    runs, unfinished = choose_runs(cells)
    picked = {place: tuned(those, options) for place, those in runs.items()}
    results = {
        entry: [
            _result(seed, run, picked.get((reference or "", task), {}).get(seed), options)
            for task in tasks
            for seed, run in picked.get((entry, task), {}).items()
        ]
        for entry in entries
    }
    if expected is None:
        expected = {(entry, task): () for entry in entries for task in tasks}
    missing = remarks.missing(picked, entries, tasks, expected, unfinished)
    aggregate, about_aggregates = _aggregate(
        results, runs, reference, options, {} if cache is None else cache, reps
    )
    labels = {entry: label(entry, cells) for entry in entries}
    every = [result for entry in entries for result in results[entry]]
    every.sort(key=lambda r: (tasks.index(r.task), entries.index(r.optimizer), r.seed))
    data = {cell.key.task: cell.key.data for cell in cells}
    all_notes = (
        *notes,
        *missing,
        *remarks.failures(runs, entries, tasks),
        *remarks.mixed_numerics(runs),
        *remarks.about_reference(reference, picked, tasks),
        *about_aggregates,
    )
    return Summary(
        run=run_hash(cells[0]),
        complete=complete and not missing and all(r.status != "failed" for r in every),
        steps=cells[0].key.schedule.steps,
        kind=cells[0].key.data.comparable,
        reference=reference,
        options=options,
        labels=labels,
        data={task: data[task] for task in tasks if task in data},
        aggregate=tuple(aggregate),
        tasks=tuple(every),
        cost=tuple(
            cost(task, entry, runs[entry, task], picked[entry, task])
            for task in tasks
            for entry in entries
            if (entry, task) in runs
        ),
        provenance=provenance(cells, labels, reference, options, reps),
        notes=tuple(dict.fromkeys(all_notes)),
    )


def _result(seed: int, run: Picked, anchor: Picked | None, options: ScoreOptions) -> TaskResult:
    key = run.cell.key
    pair: tuple[float | None, float | None] = (None, None)
    if anchor is not None:
        pair = scores(anchor.curve, run.curve, key.schedule.steps, options)
    status = run.cell.status
    return TaskResult(
        task=key.task,
        optimizer=key.entry,
        seed=seed,
        hyperparameters=dict(run.cell.hyperparameters),
        final_loss=run.curve.final_loss,
        final_loss_score=pair[0],
        speedup=pair[1],
        # A split may overflow where the training loss did not: that is a divergence too.
        status="diverged" if status == "done" and run.curve.diverged else status,
    )


def _aggregate(
    results: Mapping[str, Sequence[TaskResult]],
    runs: Mapping[Place, Runs],
    reference: str | None,
    options: ScoreOptions,
    cache: statistics.Cache,
    reps: int,
) -> tuple[list[Aggregate], list[str]]:
    rows: list[Aggregate] = []
    notes: list[str] = []
    matrices = {
        (entry, metric): statistics.rectangle(_by_task(own, metric))
        for entry, own in results.items()
        for metric in METRICS
    }
    for entry, own in results.items():
        trials = [len(those.points) for (e, _), those in runs.items() if e == entry]
        for metric in METRICS:
            matrix = matrices[entry, metric]
            estimates: dict[str, statistics.Estimate] = {}
            counted = own
            if matrix is not None:
                estimates = statistics.aggregate(matrix.values, cache=cache, reps=reps)
                anchor = matrices.get((reference or "", metric))
                better = _improvement(matrix, anchor, cache, reps)
                if better is not None:
                    estimates["probability_of_improvement"] = better
                counted = [r for r in own if r.task in matrix.tasks and r.seed in matrix.seeds]
                notes.extend(remarks.about_matrix(entry, matrix))
            for name in STATISTICS:
                estimate = estimates.get(name)
                rows.append(
                    Aggregate(
                        optimizer=entry,
                        metric=f"{metric}_{name}",
                        split=options.split,
                        value=estimate.value if estimate else None,
                        low=estimate.low if estimate else None,
                        high=estimate.high if estimate else None,
                        cells=len(counted),
                        diverged=sum(r.status == "diverged" for r in counted),
                        failed=sum(r.status == "failed" for r in counted),
                        tuning_trials=max(trials, default=1),
                    )
                )
    return rows, notes


def _by_task(results: Sequence[TaskResult], metric: str) -> dict[str, dict[int, float]]:
    name = "final_loss_score" if metric == "final_loss" else metric
    scores_by_task: dict[str, dict[int, float]] = {}
    for result in results:
        score = getattr(result, name)
        if score is not None:
            scores_by_task.setdefault(result.task, {})[result.seed] = score
    return scores_by_task


def _improvement(
    own: statistics.Matrix,
    reference: statistics.Matrix | None,
    cache: statistics.Cache,
    reps: int,
) -> statistics.Estimate | None:
    if reference is None:
        return None
    # An entry has scores only where the reference has them, so its tasks are among the reference's.
    columns = [reference.tasks.index(task) for task in own.tasks]
    return statistics.probability_of_improvement(
        own.values, reference.values[:, columns], cache=cache, reps=reps
    )
