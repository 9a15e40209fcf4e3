"""Tables of metrics beyond Celo's two scores, and of what other people published."""

from __future__ import annotations

from collections.abc import Iterator

from celo.evaluation.published import Published
from celo.evaluation.summary import METRICS, Aggregate, Summary
from celo.evaluation.table import Table

_RUN_STATISTICS = ("iqm", "median", "mean", "probability_of_improvement")
_TAUS = (0.5, 1.0, 1.5, 2.0, 3.0)
_NONE = "-"


def metric_tables(summary: Summary) -> Iterator[Table]:
    """A table for every further metric, and one of performance profiles where there are any."""
    for metric in summary.metrics:
        if metric in METRICS:
            continue
        shown = summary.shown.get(metric, _RUN_STATISTICS)
        rows = [
            (summary.labels[row.optimizer], name.replace("_", " "), _interval(row))
            for row in summary.aggregate
            if (name := _statistic(row.metric, metric)) and (name in shown or not shown)
        ]
        title = f"{metric.replace('_', '-')} [95 % interval]"
        yield Table(title, ("optimizer", "statistic", "value"), tuple(rows), (2,))
    if summary.profiles:
        yield _profiles(summary)


def _statistic(text: str, metric: str) -> str:
    return text.removeprefix(f"{metric}_") if text.startswith(f"{metric}_") else ""


def _profiles(summary: Summary) -> Table:
    rows = []
    for profile in summary.profiles:
        values = []
        for tau in _TAUS:
            inside = profile.tau[0] <= tau <= profile.tau[-1]
            near = min(range(len(profile.tau)), key=lambda i: abs(profile.tau[i] - tau))
            values.append(f"{profile.value[near]:.2f}" if inside else _NONE)
        name = f"{profile.metric} {profile.form}".replace("_", " ")
        rows.append((summary.labels[profile.optimizer], name, *values))
    return Table(
        "Performance profiles: fraction better than tau",
        ("optimizer", "profile", *(f"{tau:g}" for tau in _TAUS)),
        tuple(rows),
        tuple(range(2, 2 + len(_TAUS))),
    )


def published_table(summary: Summary) -> Iterator[Table]:
    """Published figures, by source, beside ours where we have the same quantity."""
    if not summary.published:
        return
    rows = [
        (
            f"{figure.source}: {figure.optimizer} ({figure.setting})",
            figure.figure if figure.value is not None else f"{figure.figure}: {figure.text}",
            figure.text if figure.value is not None else _NONE,
            figure.certainty,
            _ours(summary, figure),
        )
        for figure in summary.published
    ]
    columns = ("whose", "figure", "published", "sure", "here")
    title = "Published by others, never aggregated with ours"
    yield Table(title, columns, tuple(rows), (2, 4), group=True)


def _ours(summary: Summary, figure: Published) -> str:
    # Published scores are relative to what is 1 by definition, tuned: others are other quantities.
    anchors = {f.optimizer for f in summary.published if f.certainty == "D"}
    tuned = any(
        row.optimizer == summary.reference and row.tuning_trials > 1 for row in summary.aggregate
    )
    if not tuned or summary.reference not in anchors:
        return _NONE
    for row in summary.aggregate:
        if figure.metric and (row.metric, row.optimizer) == (figure.metric, figure.optimizer):
            return _interval(row)
    return _NONE


def _interval(row: Aggregate) -> str:
    if row.value is None:
        return _NONE
    if row.low is None or row.high is None:
        return f"{row.value:.3g}"
    return f"{row.value:.2f} [{row.low:.2f}, {row.high:.2f}]"
