"""What an evaluation hands back: to the command line, and to Python through `celo.evaluate`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celo.evaluation.cells import Cell
from celo.evaluation.plan import Plan
from celo.evaluation.requests import skipped_notes
from celo.evaluation.runner import Outcome
from celo.evaluation.scores import ScoreOptions
from celo.evaluation.store import STATISTICS_NOTE, Run
from celo.evaluation.summary import Summary, summarize
from celo.registry import resolve

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

    from celo.evaluation.versus import Comparison


@dataclass(frozen=True)
class EvaluationResult:
    """A finished evaluation.

    Attributes:
      path: the run folder, or None if the results were not kept.
      summary: scores, statistics and costs.
      cells: every run, tuning trials included, with its curves.
    """

    path: Path | None
    summary: Summary
    cells: list[Cell]

    @property
    def complete(self) -> bool:
        return self.summary.complete

    def to_pandas(self) -> pandas.DataFrame:
        """One row a task, optimizer and seed: final loss, scores, status, hyperparameters."""
        import pandas

        rows = [result.row() for result in self.summary.tasks]
        return pandas.DataFrame(rows)

    def aggregate(self) -> pandas.DataFrame:
        """One row an optimizer and metric: value and 95 % interval."""
        import pandas

        return pandas.DataFrame([asdict(row) for row in self.summary.aggregate])

    def compare(self, a: str, b: str) -> Comparison:
        """Is A better than B, where, by how much, and how sure is that?

        Args:
          a: an optimizer of this evaluation.
          b: another one.

        Raises:
          UsageError: one of them has no results here.
        """
        from celo.evaluation.comparing import Side, compare_sides
        from celo.evaluation.reading import canonical_entry
        from celo.evaluation.versus import Comparison

        sides = [Side(name, name, self.cells) for name in map(canonical_entry, (a, b))]
        summary = self.summary
        pair = compare_sides(*sides, reference=summary.reference, options=summary.options)
        return Comparison((pair,))

    def render(self, format_: str = "table") -> str:
        """The text that `celo report --format` prints."""
        from celo.evaluation.tables import render

        return render(self.summary, format_)

    def to_html(self, path: str | Path) -> Path:
        """Writes the page of `celo report --format html`.

        Args:
          path: of the file; one that is there is replaced.

        Returns:
          the path.

        Raises:
          StoreError: the file cannot be written.
          CeloError: the libraries of the extra `plot` are not installed.
        """
        page = _report("output:produce")(self.summary, self.cells, "html", sources=self._sources())
        _report("output:write")(Path(path), page)
        return Path(path)

    def plot(self, figure: str = "headline") -> Figure:
        """A figure of `celo report --figure`, as matplotlib's.

        Args:
          figure: "headline", "profiles" or "curves".

        Raises:
          UsageError: there is no such figure, or nothing to draw.
          CeloError: the libraries of the extra `plot` are not installed.
        """
        panels = _report("panels:learning_curves")(self.summary, self.cells)
        return _report("figures:figure")(self.summary, panels, figure)

    def _sources(self) -> Any:
        runs = (str(self.path),) if self.path is not None else ()
        data = Run.open(self.path).settings.data if self.path is not None else "real"
        return _report("document:Sources")(runs, data)


def _report(target: str) -> Any:
    # By a string target, since the report reads what is made here.
    return resolve(f"celo.report.{target}")


def evaluation_result(plan: Plan, outcome: Outcome) -> EvaluationResult:
    """Scores and statistics of the blocks of a plan; statistics are cached in the run folder."""
    notes = skipped_notes(plan.reasons)
    expected: dict[tuple[str, str], tuple[int, ...]] = {}
    for block in plan.own:
        place = (block.entry.text, block.task.record.name)
        expected[place] = (*expected.get(place, ()), *block.seeds)
    cache, known = _open_cache(outcome.run)
    summary = summarize(
        outcome.cells,
        reference=plan.reference,
        options=ScoreOptions(),
        entries=[entry.text for entry in plan.entries],
        tasks=[task.record.name for task in plan.tasks],
        expected=expected,
        complete=outcome.complete,
        notes=notes,
        horizons=[plan.publishable_steps],
        cache=cache,
    )
    if cache.keys() != known:
        outcome.run.write_note(STATISTICS_NOTE, cache)
    return EvaluationResult(outcome.run.path, summary, outcome.cells)


def _open_cache(run: Run) -> tuple[dict[str, Any], set[str]]:
    cache = run.read_note(STATISTICS_NOTE)
    return cache, set(cache)
