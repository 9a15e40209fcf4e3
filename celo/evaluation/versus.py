"""What `celo compare` and `celo.compare` do: from two names to comparisons and their text."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from celo.errors import UsageError
from celo.evaluation.comparing import PairComparison, Side, TaskComparison, compare_sides
from celo.evaluation.reading import canonical_entry, open_cache, open_runs
from celo.evaluation.scores import ScoreOptions
from celo.evaluation.store import STATISTICS_NOTE
from celo.evaluation.table import Table
from celo.evaluation.tables import SCHEMA, WIDTH, drawn, markdown_table
from celo.metrics.views import Value
from celo.text import jsonable

FORMATS = ("table", "markdown", "json")


@dataclass(frozen=True)
class Comparison:
    """A against B: of two optimizers, or of every optimizer that two runs have in common.

    Attributes:
      pairs: one by one.
      notes: about the runs, one sentence each.
    """

    pairs: tuple[PairComparison, ...]
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        return not self.notes and all(pair.complete for pair in self.pairs)

    def worse(self, tolerance: float = 0.0) -> list[str]:
        """One sentence for each pair in which A is surely worse than B; [] if it never is.

        Args:
          tolerance: how much lower the final-loss IQM of A, or the ratio of the losses on a task
            (below 1), may be for sure.

        Raises:
          UsageError: the tolerance is negative.
        """
        if not tolerance >= 0.0:
            raise UsageError(f"the tolerance must be 0 or more, got {tolerance}")
        found = [(pair, pair.worse(tolerance)) for pair in self.pairs]
        return [f"{pair.a} is worse than {pair.b}: {'; '.join(why)}" for pair, why in found if why]

    def render(self, format_: str = "table") -> str:
        """The whole comparison as text without a final newline.

        Args:
          format_: one of `FORMATS`.

        Raises:
          UsageError: there is no such format.
        """
        renderers: dict[str, Callable[[Comparison], str]] = {
            "table": _text,
            "markdown": _markdown,
            "json": lambda c: json.dumps(jsonable(c.to_json()), indent=2, allow_nan=False),
        }
        if format_ not in renderers:
            raise UsageError(
                f"a comparison has no format {format_!r}", hint=f"known: {', '.join(FORMATS)}"
            )
        return renderers[format_](self)

    def to_json(self) -> dict[str, Any]:
        """The machine-readable comparison."""
        return {
            "schema": SCHEMA,
            "run": self.pairs[0].run,
            "complete": self.complete,
            "comparisons": [
                {**asdict(pair), "verdict": pair.verdict, **_counts(pair)} for pair in self.pairs
            ],
            "notes": list(self.notes),
        }


def compare(
    a: str | Path,
    b: str | Path,
    *,
    runs: Sequence[str | Path] = (),
    optimizers: Sequence[str] = (),
    reference: str | None = "adam",
    options: ScoreOptions | None = None,
) -> Comparison:
    """Is A better than B, where, by how much, and how sure is that?

    Args:
      a: an optimizer, or a run folder.
      b: another one; of the same kind.
      runs: run folders that hold the results of two optimizers.
      optimizers: of two runs, which are compared; () for all that both have, the reference aside.
      reference: the optimizer that IQMs are relative to, as far as the runs have it; None: B.
      options: how curves become final losses.

    Raises:
      UsageError: the two cannot be compared, or a name has no results.
      StoreError: a folder holds no run.
    """
    folders = [_is_run(a), _is_run(b)]
    if folders[0] != folders[1]:
        raise UsageError(
            f"{a} and {b} must be two optimizers or two run folders",
            hint="for two optimizers: celo compare A B --run RUN",
        )
    anchor = None if reference is None else canonical_entry(reference)
    pairs = _of_runs if folders[0] else _of_optimizers
    sides, opened, damaged = pairs(a, b, runs, optimizers, anchor)
    cache, known = open_cache(opened)
    found = tuple(
        compare_sides(*pair, reference=anchor, options=options, cache=cache) for pair in sides
    )
    if cache.keys() != known:
        opened[0].write_note(STATISTICS_NOTE, cache)
    return Comparison(found, tuple(damaged))


def _is_run(name: str | Path) -> bool:
    path = Path(name)
    # A folder that happens to be called like an optimizer is none of ours.
    named_so = isinstance(name, Path) or (path.is_dir() and len(path.parts) != 1)
    return named_so or (path / "run.json").exists()


def _of_runs(
    a: str | Path,
    b: str | Path,
    runs: Sequence[str | Path],
    optimizers: Sequence[str],
    anchor: str | None,
) -> tuple[list[tuple[Side, Side]], list[Any], list[str]]:
    if runs:
        raise UsageError(f"{a} and {b} are runs themselves", hint="leave out --run")
    read = [open_runs([Path(name)]) for name in (a, b)]
    entries = [sorted({cell.key.entry for cell in cells}) for _, cells, _ in read]
    common = [entry for entry in entries[0] if entry in entries[1]]
    wanted = [canonical_entry(text) for text in optimizers]
    for entry in wanted:
        for name, own in zip((a, b), entries, strict=True):
            _check_present(entry, own, str(name))
    alone = [[entry for entry in own if entry != anchor] for own in entries]
    chosen = [(e, e) for e in wanted or [e for e in common if e != anchor]]
    if not chosen and len(alone[0]) == len(alone[1]) == 1:
        chosen = [(alone[0][0], alone[1][0])]
    chosen = chosen or [(entry, entry) for entry in common]
    if not chosen:
        raise UsageError(
            f"{a} and {b} have no optimizer in common",
            hint=f"{a} holds {', '.join(entries[0])}; {b} holds {', '.join(entries[1])}",
        )
    sides = [
        (Side(f"{x} in {a}", x, read[0][1]), Side(f"{y} in {b}", y, read[1][1])) for x, y in chosen
    ]
    return sides, [*read[0][0], *read[1][0]], [*read[0][2], *read[1][2]]


def _of_optimizers(
    a: str | Path,
    b: str | Path,
    runs: Sequence[str | Path],
    optimizers: Sequence[str],
    anchor: str | None,
) -> tuple[list[tuple[Side, Side]], list[Any], list[str]]:
    if not runs:
        raise UsageError(
            f"{a} and {b} are no folders, and no run is named that has their results",
            hint="two optimizers: add --run RUN; two runs: give folders that `celo eval` wrote",
        )
    if optimizers:
        raise UsageError("--optimizer chooses what is compared of two runs", hint="leave it out")
    names = [canonical_entry(str(text)) for text in (a, b)]
    if names[0] == names[1]:
        raise UsageError(f"{names[0]} cannot be compared with itself in the same runs")
    opened, cells, damaged = open_runs(map(Path, runs))
    present = sorted({cell.key.entry for cell in cells})
    for name in names:
        _check_present(name, present, ", ".join(str(run.path) for run in opened))
    return [(Side(names[0], names[0], cells), Side(names[1], names[1], cells))], opened, damaged


def _check_present(entry: str, present: Iterable[str], where: str) -> None:
    if entry not in present:
        raise UsageError(
            f"there are no results of {entry!r} in {where}", hint=f"it holds: {', '.join(present)}"
        )


def _counts(pair: PairComparison) -> dict[str, int]:
    return {f"tasks_{v}": pair.count(v) for v in ("better", "worse", "unsure")}


def _tables(pair: PairComparison) -> list[Table]:
    rows = [
        ("final-loss IQM of A", _interval(pair.iqm_a)),
        ("final-loss IQM of B", _interval(pair.iqm_b)),
        ("difference, A - B", _interval(pair.difference, "+.3f")),
        ("probability that A is better", _interval(pair.probability)),
        ("p-value over tasks (sign flips)", _number(pair.p_value, ".3g")),
        ("tasks better / worse / unsure", " / ".join(str(n) for n in _counts(pair).values())),
        (
            "verdict by the difference",
            f"A is {pair.verdict}" if pair.verdict != "unsure" else "unsure",
        ),
    ]
    overall = Table(
        f"Overall, relative to {pair.reference} [95 % interval]", ("", "value"), tuple(rows), (1,)
    )
    columns = ("task", "loss A", "loss B", "B / A", "sooner", "p (Holm)", "A is", "lost")
    title = "Tasks: final loss, ratio above 1 where A is better"
    return [overall, Table(title, columns, tuple(map(_row, pair.tasks)), (1, 2, 3, 4, 5), True)]


def _row(task: TaskComparison) -> tuple[str, ...]:
    ratio = _interval(Value(task.ratio, task.low, task.high))
    lost = f"{task.lost_a}, {task.lost_b} of {task.seeds}" if task.lost_a or task.lost_b else "-"
    return (
        task.task,
        _number(task.loss_a, ".4g"),
        _number(task.loss_b, ".4g"),
        ratio,
        _number(task.speedup, ".2f"),
        _number(task.p_adjusted, ".2g"),
        task.verdict,
        lost,
    )


def _text(comparison: Comparison) -> str:
    parts: list[str] = []
    for pair in comparison.pairs:
        parts.append(f"A: {pair.a}\nB: {pair.b}")
        parts.extend(map(drawn, _tables(pair)))
        if pair.notes:
            parts.append("\n".join(map(_note, pair.notes)))
    return "\n\n".join([*parts, *map(_note, comparison.notes)])


def _note(text: str) -> str:
    return textwrap.fill(f"note: {text}", WIDTH, subsequent_indent="  ", break_long_words=False)


def _markdown(comparison: Comparison) -> str:
    parts: list[str] = []
    for pair in comparison.pairs:
        parts.append(f"## A: {pair.a}, B: {pair.b}")
        parts.extend(map(markdown_table, _tables(pair)))
        if pair.notes:
            parts.append("\n".join(f"- {note}" for note in pair.notes))
    return "\n\n".join([*parts, *(f"- {note}" for note in comparison.notes)])


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _interval(value: Value, form: str = ".2f") -> str:
    if value.value is None:
        return "-"
    if value.low is None or value.high is None:
        return format(value.value, form)
    return f"{value.value:{form}} [{value.low:{form}}, {value.high:{form}}]"
