"""Writes `docs/reproduction.md`: our figures beside published ones, and what differs between them.

    python docs/reproduce.py RUN...                  run folders that `celo eval` wrote
    python docs/reproduce.py --report REPORT.json    what `celo report --format json` printed

Runs that must not stand in one table (other horizon, data, splits) get a section each. Published
figures are those of `celo report --with published` and the envelopes of `velo-speedup`; nothing is
measured here. What a section says about data, steps and splits is read from the runs themselves.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reproduce_envelopes import envelope_rows, envelope_table  # beside this file

from celo.errors import CeloError, UsageError
from celo.evaluation.cells import Cell
from celo.evaluation.choosing import choose_metrics
from celo.evaluation.published import CERTAINTY, Published, published_results
from celo.evaluation.reading import open_runs
from celo.evaluation.statistics import REPS
from celo.evaluation.store import Run
from celo.evaluation.summary import summarize
from celo.evaluation.table import Table
from celo.evaluation.tables import markdown_table, to_json
from celo.files import write_atomically
from celo.metrics.velo import published_envelopes, source
from celo.text import jsonable

OUTPUT = Path(__file__).parent / "reproduction.md"
METRICS = ("final_loss,speedup,velo-speedup",)
REFERENCE = "adam"

_INTRODUCTION = """\
# Reproduction

Our figures beside published ones. Written by `python docs/reproduce.py`; not edited by hand.

How sure a published figure is: {marks}. Our intervals are 95 % percentile bootstraps over seeds.
Where data, steps, splits, tasks or seeds differ, the two are not the same quantity; every section
says what differs. None of the published figures is aggregated with ours."""


@dataclass(frozen=True)
class Section:
    """Runs that may stand in one table.

    Attributes:
      report: as `celo report --format json` prints it.
      cells: of the runs; () where only the report is known.
    """

    report: Mapping[str, Any]
    cells: Sequence[Cell] = ()


def sections_of_runs(paths: Iterable[Path], reps: int = REPS) -> list[Section]:
    """One section for every set of run folders with the same settings.

    Args:
      paths: of run folders.
      reps: repetitions of the bootstrap.
    """
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        groups[json.dumps(Run.open(path).settings.to_json(), sort_keys=True)].append(path)
    sections = []
    for group in groups.values():
        _, cells, damaged = open_runs(group)
        summary = summarize(
            cells,
            reference=REFERENCE,
            metrics=choose_metrics(METRICS),
            notes=damaged,
            reps=reps,
        )
        sections.append(Section(jsonable(to_json(summary)), cells))
    return sections


def section_of_report(path: Path) -> Section:
    """The section of a JSON report.

    Raises:
      UsageError: it is none.
    """
    try:
        report = json.loads(path.read_text("utf-8"))
        if report["schema"] != 1 or not {"aggregate", "tasks", "provenance"} <= {*report}:
            raise ValueError("no report of schema 1")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is no report: {error}", hint="celo report RUN --format json > FILE"
        ) from error
    return Section(report)


def document(sections: Sequence[Section]) -> str:
    """The whole page, with a final newline."""
    marks = "; ".join(f"{mark} {words}" for mark, words in CERTAINTY.items())
    parts = [_INTRODUCTION.format(marks=marks)]
    for section in sections:
        parts += _section(section)
    parts += _everything_published(sections)
    return "\n\n".join(parts) + "\n"


def _section(section: Section) -> list[str]:
    report = section.report
    schedule = report["provenance"]["schedule"]
    tasks = _tasks(report)
    parts = [
        f"## {schedule['steps']} steps, {_counted(len(tasks), 'task')} (run {report['run']})",
        "\n".join([_SAME, "", *_same(report)]),
        "\n".join(["What is not:", "", *_different(report)]),
        _table("Scores", _scores(report), _NO_SCORES),
    ]
    if section.cells:
        rows = envelope_rows(section.cells, schedule["steps"], REFERENCE)
        if rows:
            parts += [_ABOUT_ENVELOPES.format(**source()), markdown_table(envelope_table(rows))]
    notes = report["provenance"]["notes"]
    if notes:
        parts.append("\n".join(["Notes:", "", *(f"- {note}" for note in notes)]))
    return parts


_SAME = """\
What is the same as in the protocol of Celo's evaluation, as far as it is known (summaries of the
paper, and a public re-implementation):"""

_NO_SCORES = f"None: they are relative to {REFERENCE}, of which there are no results in these runs."

_ABOUT_ENVELOPES = """\
### Training losses beside the published envelopes of tuned Adam

Published: {origin} ({licence}). {made}. Ours by the same rule (mean over seeds, moving average
0.95, lowest over the learning rates that ran), on our data and seeds; a single learning rate can
only be above the envelope of fifteen. Others than Adam stand there with their last loss.
`here / there` above 1 is a higher loss here."""


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _tasks(report: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(row["task"] for row in report["tasks"]))


def _facts(report: Mapping[str, Any]) -> list[tuple[bool, str]]:
    """(whether it is as published, one sentence); what is published: see `docs/metrics.md`."""
    provenance = report["provenance"]
    schedule, scores = provenance["schedule"], provenance["scores"]
    tasks, published = _tasks(report), list(published_envelopes())
    data = [provenance["data"][task] for task in tasks]
    facts = [(schedule["steps"] == 2000, f"steps: {schedule['steps']} (published: 2000)")]
    facts.append(
        (
            (schedule["eval_every"], schedule["eval_batches"], schedule["last_eval_batches"])
            == (10, 5, 10),
            f"evaluation: every {schedule['eval_every']} steps on {schedule['eval_batches']} "
            f"batches, {schedule['last_eval_batches']} at the end (published: 10, 5, 10)",
        )
    )
    there = [task for task in published if task in tasks]
    beyond = [task for task in tasks if task not in published]
    facts.append(
        (
            len(there) == len(published) and not beyond,
            f"tasks: {len(there)} of the {len(published)} published ones"
            + (f", and {_counted(len(beyond), 'other')} ({', '.join(beyond)})" if beyond else ""),
        )
    )
    seeds = sorted({row["seed"] for row in report["tasks"]})
    facts.append((seeds == [0, 1, 2], f"seeds: {', '.join(map(str, seeds))} (published: 0, 1, 2)"))
    for kind in sorted({d["kind"] for d in data}):
        own = [d for d in data if d["kind"] == kind]
        labels = sorted({f"{d['name']}: {d['label']}" for d in own})
        where = f"data, {_counted(len(own), 'task')}"
        facts.append((kind == "real", f"{where}: {kind} ({'; '.join(labels)})"))
    splits = all(d["published_splits"] for d in data)
    facts.append(
        (
            splits,
            "splits: those of the published code (1 % of some training sets)"
            if splits
            else "splits: all training data, 80/10/10 (published code: 1 % of some sets)",
        )
    )
    rule = {"mean": "one setting per task", "per-seed": "one setting per task and seed"}
    selection = scores["selection"]
    facts.append(
        (
            selection == "per-seed",
            f"tuning: {rule[selection]} (published: one setting per task and seed)",
        )
    )
    facts.append((scores["split"] == "train", f"losses: {scores['split']} (published: train)"))
    facts.append((scores["ema"] == 0.9, f"smoothing: {scores['ema']:g} (published: 0.9)"))
    own = [r["tuning_trials"] for r in report["aggregate"] if r["optimizer"] == REFERENCE]
    if own:
        facts.append((own[0] == 15, f"Adam's learning rates: {own[0]} tried (published: 15)"))
    return facts


def _same(report: Mapping[str, Any]) -> list[str]:
    return [f"- {text}" for same, text in _facts(report) if same] or ["- nothing"]


def _different(report: Mapping[str, Any]) -> list[str]:
    provenance = report["provenance"]
    texts = [text for same, text in _facts(report) if not same]
    for entry, found in provenance["optimizers"].items():
        if found["weights"] is not None:
            texts.append(
                f"weights of {entry}: content hash {str(found['weights'])[:16]}{_from(found)}"
            )
    machine = provenance["environment"]
    texts.append(f"machine: {machine['platform']}, {machine['device']} (published: GPU)")
    if not report["complete"]:
        texts.append("incomplete: something that was asked for is missing or failed")
    texts.append("divergence: what the published scores do with it is not known")
    return [f"- {text}" for text in texts]


def _from(found: Mapping[str, Any]) -> str:
    """Where weights came from, as far as the cells say."""
    origin = found["weights_source"]
    if not isinstance(origin, Mapping):
        return ""
    checked = "held against the hash of its card" if origin["verified"] else "unverified"
    return f", from {origin['source']}, {checked}"


def _scores(report: Mapping[str, Any]) -> Table:
    figures = {(f.optimizer, f.metric): f for f in published_results()[1] if f.metric}
    if report["provenance"]["reference"] != REFERENCE:
        figures = {}  # relative to something else: another quantity
    rows = []
    for row in report["aggregate"]:
        figure = figures.get((row["optimizer"], row["metric"]))
        shown = row["metric"].endswith("_iqm") or row["metric"] == "velo_speedup_last_mean"
        if row["value"] is not None and (shown or figure is not None):
            rows.append(
                (
                    row["optimizer"],
                    row["data"],
                    row["metric"].replace("_", " "),
                    _interval(row),
                    "-" if figure is None else f"{figure.text} ({figure.certainty})",
                    f"{row['cells']}",
                )
            )
    columns = ("optimizer", "data", "metric", "here [95 % interval]", "published", "runs")
    return Table("Scores", columns, tuple(rows), (3, 4, 5))


def _interval(row: Mapping[str, Any]) -> str:
    if row["low"] is None:
        return f"{row['value']:.3g}"
    return f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"


def _everything_published(sections: Sequence[Section]) -> list[str]:
    """Every published figure, and whether it is compared with ours above."""
    ours = {
        (row["optimizer"], row["metric"])
        for section in sections
        for row in section.report["aggregate"]
        if row["value"] is not None and section.report["provenance"]["reference"] == REFERENCE
    }
    sources, figures = published_results()
    parts = ["## All published figures"]
    for origin in sources:
        rows = [_published_row(f, ours) for f in figures if f.source == origin.name]
        columns = ("optimizer", "figure", "setting", "value", "sure", "here")
        table = Table(f"{origin.title}, {origin.link}", columns, tuple(rows), ())
        parts.append(markdown_table(table))
    return parts


def _published_row(figure: Published, ours: set[tuple[str, str]]) -> tuple[str, ...]:
    where = "compared above" if (figure.optimizer, figure.metric) in ours else "not measured"
    words = (figure.optimizer, figure.figure, figure.setting, figure.text, figure.certainty)
    return (*words, where)


def _table(title: str, table: Table, nothing: str = "None.") -> str:
    return markdown_table(table) if table.rows else f"### {title}\n\n{nothing}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("runs", nargs="*", type=Path, help="folders that `celo eval` wrote")
    parser.add_argument("--report", action="append", type=Path, default=[], help="a JSON report")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--reps", type=int, default=REPS, help="repetitions of the bootstrap")
    given = parser.parse_args(arguments)
    if not given.runs and not given.report:
        parser.error("give run folders, or reports with --report")
    try:
        sections = [
            *sections_of_runs(given.runs, given.reps),
            *map(section_of_report, given.report),
        ]
    except CeloError as error:
        print(f"reproduce: {error}", file=sys.stderr)
        return error.exit_code
    text = document(sections)
    write_atomically(given.output, lambda file: file.write(text.encode()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
