"""From cells to a comparison: what `celo eval` and `celo report` print, before it is rendered.

Neither JAX nor pandas is imported here (rliable is, when a statistic is not in the cache).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from celo.errors import UsageError
from celo.evaluation import remarks, statistics
from celo.evaluation.aggregation import STATISTICS as STATISTICS
from celo.evaluation.aggregation import Aggregate, aggregated
from celo.evaluation.apart import each_kind_apart
from celo.evaluation.cells import Cell, DataIdentity, Status
from celo.evaluation.choosing import DEFAULT_METRICS, ChosenMetric, choose_metrics
from celo.evaluation.measuring import Measured, measure
from celo.evaluation.provenance import Cost, cost, label, provenance
from celo.evaluation.published import Published
from celo.evaluation.publishing import not_publishable
from celo.evaluation.scores import ScoreOptions
from celo.evaluation.selection import (
    Picked,
    check_comparable,
    choose_runs,
    conflicting,
    run_hash,
    tuned,
    unique,
)
from celo.metrics.views import Profile, RunView

METRICS = DEFAULT_METRICS


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
      scores: of further metrics that were asked for, by name.
    """

    task: str
    optimizer: str
    seed: int
    hyperparameters: Mapping[str, Any]
    final_loss: float
    final_loss_score: float | None
    speedup: float | None
    status: Status
    scores: Mapping[str, float | None] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """All of it on one level: scores of further metrics stand under their names."""
        values = {name: value for name, value in vars(self).items() if name != "scores"}
        return {**values, "hyperparameters": dict(self.hyperparameters), **self.scores}


@dataclass(frozen=True)
class TaskFigure:
    """What a comparison metric says about one optimizer on one task, all seeds together."""

    task: str
    optimizer: str
    metric: str
    value: float | None


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
      metrics: names of what was asked for, in order.
      shown: name of a comparison metric -> its statistics that tables show.
      figures: of comparison metrics, by metric, optimizer and task.
      profiles: curves of comparison metrics.
      published: figures of other people, to stand beside these; never aggregated with them.
      parts: where there are several kinds of data, a summary of each; nothing is computed over
        more than one of them.
      not_publishable: why the results must not be published; () if they may be.
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
    metrics: tuple[str, ...] = DEFAULT_METRICS
    shown: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    figures: tuple[TaskFigure, ...] = ()
    profiles: tuple[Profile, ...] = ()
    published: tuple[Published, ...] = ()
    parts: tuple[Summary, ...] = ()
    not_publishable: tuple[str, ...] = ()


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
    horizons: Sequence[int] = (),
    cache: statistics.Cache | None = None,
    reps: int = statistics.REPS,
    metrics: Sequence[ChosenMetric] | None = None,
    published: Sequence[Published] = (),
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
      horizons: from which the results may be published (`celo.evaluation.publishing`).
      cache: statistics by content, computed before; added to.
      reps: repetitions of the bootstrap.
      metrics: what is shown (`choose_metrics`); None for Celo's two scores.
      published: figures of other people, to stand beside these.

    Raises:
      BrokenPluginError: a metric fails.
      UsageError: there is nothing to compare, or the cells must not be compared.
    """
    options = options or ScoreOptions()
    shown = {*entries, reference}
    given = [
        cell
        for cell in cells
        if (not tasks or cell.key.task in tasks) and (not entries or cell.key.entry in shown)
    ]
    cells = unique(given)
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
    chosen = choose_metrics() if metrics is None else tuple(metrics)
    measured = measure(
        picked,
        optimizers=entries,
        tasks=tasks,
        reference=reference,
        options=options,
        metrics=chosen,
        reps=reps,
    )
    further = [m.name for m in chosen if m.record.kind == "run" and m.name not in METRICS]
    results = {
        entry: [
            _result(run, picked[entry, task][seed], measured, further)
            for task in tasks
            for seed, run in measured.results.runs.get((entry, task), {}).items()
        ]
        for entry in entries
    }
    if expected is None:
        expected = {(entry, task): () for entry in entries for task in tasks}
    missing = remarks.missing(picked, entries, tasks, expected, unfinished)
    aggregate, about_aggregates = aggregated(
        results, measured, chosen, runs, {} if cache is None else cache
    )
    labels = {entry: label(entry, cells) for entry in entries}
    every = [result for entry in entries for result in results[entry]]
    every.sort(key=lambda r: (tasks.index(r.task), entries.index(r.optimizer), r.seed))
    data = {cell.key.task: cell.key.data for cell in cells}
    steps = cells[0].key.schedule.steps
    kinds = [data[task].kind for task in tasks if task in data]
    all_notes = (
        *notes,
        *missing,
        *remarks.conflicts(conflicting(given)),
        *remarks.failures(runs, entries, tasks),
        *remarks.mixed_numerics(runs),
        *remarks.about_reference(reference, picked, tasks),
        *about_aggregates,
        *(note for result in measured.found.values() for note in result.notes),
        *remarks.about_published(published, steps, kinds),
    )
    return Summary(
        run=run_hash(cells[0]),
        complete=complete and not missing and all(r.status != "failed" for r in every),
        steps=steps,
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
        provenance=provenance(cells, labels, reference, options, reps, chosen),
        notes=tuple(dict.fromkeys(all_notes)),
        metrics=tuple(metric.name for metric in chosen),
        shown={name: result.shown for name, result in measured.found.items()},
        figures=tuple(
            TaskFigure(task, entry, f"{name}_{figure}", value)
            for name, result in measured.found.items()
            for (entry, task), values in result.tasks.items()
            for figure, value in values.items()
        ),
        profiles=tuple(p for result in measured.found.values() for p in result.profiles),
        published=tuple(published),
        not_publishable=not_publishable(cells[0].key.schedule, horizons),
    )


def _result(run: RunView, picked: Picked, measured: Measured, further: Sequence[str]) -> TaskResult:
    def score(name: str) -> float | None:
        by_task = measured.results.scores[name].get(run.optimizer, {})
        return by_task.get(run.task, {}).get(run.seed)

    return TaskResult(
        task=run.task,
        optimizer=run.optimizer,
        seed=run.seed,
        hyperparameters=dict(picked.cell.hyperparameters),
        final_loss=run.final_loss,
        final_loss_score=score("final_loss"),
        speedup=score("speedup"),
        status=run.status,
        scores={name: score(name) for name in further},
    )
