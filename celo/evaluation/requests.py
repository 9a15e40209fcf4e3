"""What was ever asked of a run folder, so that reports know its order and what is missing.

Kept as a note in the folder: losing it loses no result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from celo.evaluation.publishing import PUBLISHED
from celo.evaluation.store import Run

NOTE = "request"


@dataclass(frozen=True)
class Request:
    """One evaluation: every entry on every task and seed.

    Attributes:
      entries: canonical texts, in table order.
      tasks: names, in table order, those included that could not run.
      seeds: of the runs.
      reference: entry that scores are relative to, or None.
      skipped: task -> why it could not run.
      publishable_steps: horizon from which its results may be published; 0 for never.
    """

    entries: tuple[str, ...]
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    reference: str | None
    skipped: Mapping[str, str] = field(default_factory=dict)
    publishable_steps: int = PUBLISHED.steps


def add_request(run: Run, request: Request) -> None:
    """Remembers a request; the same one asked again replaces the earlier, and is the last."""
    same = (request.entries, request.tasks, request.seeds)
    kept = [r for r in read_requests(run) if (r.entries, r.tasks, r.seeds) != same]
    run.write_note(NOTE, {"requests": [asdict(r) for r in (*kept, request)]})


def read_requests(run: Run) -> list[Request]:
    """All requests, the latest last; [] where there is no readable note."""
    try:
        return [_request(value) for value in run.read_note(NOTE).get("requests", [])]
    except (KeyError, TypeError, ValueError, AttributeError):
        return []


def expected_runs(requests: Iterable[Request]) -> dict[tuple[str, str], tuple[int, ...]]:
    """(entry, task) -> seeds that were asked for, skipped tasks left out."""
    expected: dict[tuple[str, str], tuple[int, ...]] = {}
    for request in requests:
        for entry in request.entries:
            for task in request.tasks:
                if task not in request.skipped:
                    known = expected.get((entry, task), ())
                    expected[entry, task] = tuple(sorted({*known, *request.seeds}))
    return expected


def tasks_by_reason(skipped: Mapping[str, str]) -> dict[str, list[str]]:
    """Why tasks could not run -> the tasks; those of one data set are said together.

    Args:
      skipped: task -> why it could not run.
    """
    found: dict[str, list[str]] = {}
    for task, reason in skipped.items():
        found.setdefault(reason, []).append(task)
    return found


def skipped_notes(skipped: Mapping[str, str]) -> list[str]:
    """The same, a sentence for each reason."""
    return [
        f"{', '.join(tasks)} {'was' if len(tasks) == 1 else 'were'} skipped: {reason}"
        for reason, tasks in tasks_by_reason(skipped).items()
    ]


def _request(value: Mapping[str, Any]) -> Request:
    return Request(
        entries=tuple(map(str, value["entries"])),
        tasks=tuple(map(str, value["tasks"])),
        seeds=tuple(map(int, value["seeds"])),
        reference=None if value["reference"] is None else str(value["reference"]),
        skipped={str(k): str(v) for k, v in value["skipped"].items()},
        publishable_steps=int(value.get("publishable_steps", PUBLISHED.steps)),
    )
