"""Is A better than B, where, by how much, and how sure is that?

Everything is paired: runs of one task and seed start from the same parameters and see the same
batches. The statistics are those of `celo.metrics.paired`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from celo.errors import UsageError
from celo.evaluation import statistics
from celo.evaluation.cells import Cell
from celo.evaluation.measuring import view_of
from celo.evaluation.scores import ScoreOptions, final_loss_score, speedup
from celo.evaluation.selection import check_comparable, choose_runs, run_hash, tuned, unique
from celo.metrics.paired import (
    Verdict,
    holm,
    iqm_difference,
    mean_log_ratio,
    pair_losses,
    paired_test,
    sign_flip_test,
    verdict,
)
from celo.metrics.views import RunView, Value

Views = Mapping[str, Mapping[int, RunView]]
"""task -> seed -> run."""


@dataclass(frozen=True)
class Side:
    """One of the two that are compared.

    Attributes:
      name: how it is called in messages, such as "celo in runs/new".
      optimizer: entry.
      cells: of its run or runs, those of a reference included.
    """

    name: str
    optimizer: str
    cells: Sequence[Cell]


@dataclass(frozen=True)
class TaskComparison:
    """A against B on one task, over the seeds that both have.

    Attributes:
      task: name.
      seeds: number of pairs.
      loss_a: mean final loss of A; None where a run is lost.
      loss_b: of B.
      ratio: geometric mean of (loss of B / loss of A): above 1, A is better; None without a pair
        of finite losses.
      low: lower end of its 95 % interval (paired t), or None.
      high: upper end.
      speedup: horizon over the steps that A needs to reach B's final loss, median over seeds; 0 if
        it does not.
      p_value: two-sided, of "the ratio is 1"; None where it cannot be tested.
      p_adjusted: the same, corrected for the number of tasks (Holm).
      verdict: "better" or "worse" where p_adjusted <= 0.05, else "unsure".
      lost_a: runs of A that diverged or failed.
      lost_b: runs of B that did.
    """

    task: str
    seeds: int
    loss_a: float | None
    loss_b: float | None
    ratio: float | None
    low: float | None
    high: float | None
    speedup: float
    p_value: float | None
    p_adjusted: float | None
    verdict: Verdict
    lost_a: int
    lost_b: int


@dataclass(frozen=True)
class PairComparison:
    """A against B.

    Attributes:
      a: name of A.
      b: name of B.
      optimizer_a: entry.
      optimizer_b: entry.
      run: hash of what comparable results share.
      reference: entry that the IQMs are relative to.
      tasks: of both, one by one.
      iqm_a: final-loss IQM of A.
      iqm_b: of B.
      difference: iqm_a - iqm_b; interval by resampling seeds, the same ones for both.
      probability: that a run of A has the better score, averaged over tasks.
      p_value: of "no difference", sign-flip test over tasks of the mean log ratios.
      complete: both have the same tasks and seeds, and no run failed.
      notes: what a reader must know.
    """

    a: str
    b: str
    optimizer_a: str
    optimizer_b: str
    run: str
    reference: str
    tasks: tuple[TaskComparison, ...]
    iqm_a: Value
    iqm_b: Value
    difference: Value
    probability: Value
    p_value: float | None
    complete: bool
    notes: tuple[str, ...]

    def count(self, verdict: Verdict) -> int:
        return sum(task.verdict == verdict for task in self.tasks)

    @property
    def verdict(self) -> Verdict:
        """By the interval of the difference of IQMs: wholly above 0, wholly below, or neither."""
        low, high = self.difference.low or 0.0, self.difference.high or 0.0
        return "better" if low > 0.0 else "worse" if high < 0.0 else "unsure"

    def worse(self, tolerance: float = 0.0) -> list[str]:
        """Why A is worse than B, one clause each; [] if it is not.

        Args:
          tolerance: how much lower A's IQM, or its ratio on a task, may be for sure.
        """
        reasons = []
        if (self.difference.high or 0.0) < -tolerance:
            reasons.append(f"its final-loss IQM differs by {_shown(self.difference)}")
        surely = [
            f"{task.task} ({'lost' if task.ratio is None else f'loss ratio {task.ratio:.3g}'})"
            for task in self.tasks
            if task.verdict == "worse" and (task.ratio or 0.0) < 1.0 - tolerance
        ]
        if surely:
            more = f" and {len(surely) - 3} more tasks" if len(surely) > 3 else ""
            reasons.append(f"it is surely worse on {', '.join(surely[:3])}{more}")
        return reasons


def compare_sides(
    a: Side,
    b: Side,
    *,
    reference: str | None = "adam",
    options: ScoreOptions | None = None,
    cache: statistics.Cache | None = None,
    reps: int = statistics.REPS,
) -> PairComparison:
    """Compares two optimizers, or one in two runs.

    Args:
      a: what is judged.
      b: what it is held against.
      reference: canonical text of the entry that IQMs are relative to, taken from B's run, else
        from A's; None, or where neither has it: B itself.
      options: how curves become final losses.
      cache: statistics by content, computed before; added to.
      reps: repetitions of the bootstrap.

    Raises:
      UsageError: they must not be compared, or have no task and seed in common.
    """
    options = options or ScoreOptions()
    everything = [*_own(a), *_own(b)]
    # Weights may differ: that is what is compared.
    check_comparable(replace(c, key=replace(c.key, weights=None)) for c in unique(everything))
    views_a, views_b = (_views(side.cells, side.optimizer, options) for side in (a, b))
    pairs = {t: pair_losses(views_a[t], views_b[t]) for t in views_a if t in views_b}
    pairs = {task: pair for task, pair in sorted(pairs.items()) if pair[0]}
    if not pairs:
        raise UsageError(
            f"{a.name} and {b.name} have no task and seed in common",
            hint="run both with `celo eval` on the same tasks and seeds",
        )
    anchors, reference = _anchors(a, b, reference, views_b, options)
    scores = [_scores(views, anchors, pairs) for views in (views_a, views_b)]
    found = iqm_difference(scores[0], scores[1], reps)
    if found is None:
        raise UsageError(
            f"the reference {reference} has none of the tasks and seeds of {a.name} and {b.name}",
            hint="--reference none compares them with each other alone",
        )
    notes = _notes(a, b, views_a, views_b, pairs, anchors, reference)
    return PairComparison(
        a=a.name,
        b=b.name,
        optimizer_a=a.optimizer,
        optimizer_b=b.optimizer,
        run=run_hash(everything[0]),
        reference=reference,
        tasks=_tasks(views_a, views_b, pairs),
        iqm_a=found[0],
        iqm_b=found[1],
        difference=found[2],
        probability=_probability(scores, {} if cache is None else cache, reps),
        p_value=sign_flip_test([mean_log_ratio(own, other) for _, own, other in pairs.values()]),
        complete=not any(note.startswith("incomplete") for note in notes),
        notes=tuple(notes),
    )


def _own(side: Side) -> list[Cell]:
    own = [cell for cell in side.cells if cell.key.entry == side.optimizer]
    if not own:
        raise UsageError(
            f"there are no results of {side.name}",
            hint=f"there are of: {', '.join(sorted({c.key.entry for c in side.cells}))}",
        )
    return own


def _views(cells: Sequence[Cell], entry: str, options: ScoreOptions) -> Views:
    runs, _ = choose_runs(unique(cell for cell in cells if cell.key.entry == entry))
    return {
        task: {seed: view_of(seed, run, options) for seed, run in tuned(own, options).items()}
        for (_, task), own in runs.items()
    }


def _anchors(
    a: Side, b: Side, reference: str | None, views_b: Views, options: ScoreOptions
) -> tuple[Views, str]:
    """The runs that scores are relative to: one set for both, so that it cannot tip the scales."""
    if reference is not None:
        for side in (b, a):
            views = _views(side.cells, reference, options)
            if views:
                return views, reference
    return views_b, b.optimizer


def _scores(
    views: Views, anchors: Views, pairs: Mapping[str, tuple[list[int], list[float], list[float]]]
) -> dict[str, dict[int, float]]:
    scores: dict[str, dict[int, float]] = {}
    for task, (seeds, _, _) in pairs.items():
        for seed in seeds:
            anchor = anchors.get(task, {}).get(seed)
            if anchor is not None:
                score = final_loss_score(anchor.final_loss, views[task][seed].final_loss)
                scores.setdefault(task, {})[seed] = score
    return scores


def _tasks(
    views_a: Views,
    views_b: Views,
    pairs: Mapping[str, tuple[list[int], list[float], list[float]]],
) -> tuple[TaskComparison, ...]:
    tests = {task: paired_test(own, other) for task, (_, own, other) in pairs.items()}
    adjusted = holm([test.p_value for test in tests.values()])
    found = []
    for (task, (seeds, own, other)), p_adjusted in zip(pairs.items(), adjusted, strict=True):
        test = tests[task]
        times = []
        for seed, target in zip(seeds, other, strict=True):
            run = views_a[task][seed]
            reached = speedup(run.steps, run.smoothed, target, run.horizon)
            times.append(0.0 if run.lost else reached)
        found.append(
            TaskComparison(
                task=task,
                seeds=len(seeds),
                loss_a=_mean(own),
                loss_b=_mean(other),
                ratio=test.ratio,
                low=test.low,
                high=test.high,
                speedup=float(np.median(times)),
                p_value=test.p_value,
                p_adjusted=p_adjusted,
                verdict=verdict(own, other, p_adjusted),
                lost_a=sum(views_a[task][seed].lost for seed in seeds),
                lost_b=sum(views_b[task][seed].lost for seed in seeds),
            )
        )
    return tuple(found)


def _probability(
    scores: Sequence[Mapping[str, Mapping[int, float]]], cache: statistics.Cache, reps: int
) -> Value:
    own, other = (statistics.rectangle(side) for side in scores)
    if own is None or other is None:
        return Value(None)
    found = statistics.probability_of_improvement(own.values, other.values, cache=cache, reps=reps)
    return Value(found.value, found.low, found.high)


def _notes(
    a: Side,
    b: Side,
    views_a: Views,
    views_b: Views,
    pairs: Mapping[str, tuple[list[int], list[float], list[float]]],
    anchors: Views,
    reference: str,
) -> list[str]:
    notes = []
    for name, own, other in ((a.name, views_a, views_b), (b.name, views_b, views_a)):
        alone = sorted(task for task in own if task not in pairs)
        if alone:
            notes.append(f"incomplete: only {name} has results on {', '.join(alone)}")
        extra = sum(len({*own[task]} - {*other[task]}) for task in pairs)
        if extra:
            notes.append(f"incomplete: {extra} runs of {name} have no partner and are left out")
        runs = [run for task in pairs for run in own[task].values()]
        failed = sum(run.status == "failed" for run in runs)
        if failed:
            notes.append(f"incomplete: {failed} of {len(runs)} runs of {name} failed")
    short = sum(len(seeds) < statistics.MIN_SEEDS for seeds, _, _ in pairs.values())
    if short:
        notes.append(
            f"fewer than {statistics.MIN_SEEDS} seeds on {short} of {len(pairs)} tasks: intervals "
            "are too narrow there, and a single pair cannot be tested"
        )
    unscored = sum(not {*seeds} & {*anchors.get(task, {})} for task, (seeds, _, _) in pairs.items())
    if unscored:
        notes.append(
            f"the reference {reference} has no results on {unscored} of {len(pairs)} tasks: they "
            "are not in the IQMs"
        )
    return [*notes, *_older_numerics(a, b, pairs)]


def _older_numerics(a: Side, b: Side, pairs: Mapping[str, object]) -> list[str]:
    """Tasks of which the two sides ran different versions of the loop or of the task."""
    newest = [
        {
            task: max(c.key.numerics[:2] for c in side.cells if _is_of(c, side.optimizer, task))
            for task in pairs
        }
        for side in (a, b)
    ]
    differ = sorted(task for task in pairs if newest[0][task] != newest[1][task])
    if not differ:
        return []
    return [
        f"the two ran with different numerics of loop or task on {len(differ)} of {len(pairs)} "
        f"tasks ({', '.join(differ[:3])}{', ...' if len(differ) > 3 else ''})"
    ]


def _is_of(cell: Cell, entry: str, task: str) -> bool:
    return cell.key.entry == entry and cell.key.task == task


def _mean(losses: Sequence[float]) -> float | None:
    return math.fsum(losses) / len(losses) if all(map(math.isfinite, losses)) else None


def _shown(value: Value) -> str:
    if value.value is None or value.low is None or value.high is None:
        return "an unknown amount"
    return f"{value.value:+.3g} [{value.low:+.3g}, {value.high:+.3g}]"
