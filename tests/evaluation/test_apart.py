"""Real data and stand-ins: two figures, never one."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from celo.errors import UsageError
from celo.evaluation.cells import DataIdentity, Schedule
from celo.evaluation.summary import Summary, summarize
from celo.evaluation.tables import render, tables, to_json
from tests.evaluation.synthetic_cells import block, tuned

STAND_IN = DataIdentity("lm1b", "substitute", "substitute wikitext2", "f" * 64)
RANDOM = DataIdentity("mnist", "synthetic", "synthetic", "e" * 64)


def _cells(*, random: bool = False):
    real = [*tuned("adam", "T", [[2.0] * 3, [3.0] * 3, [5.0] * 3]), *block("celo", "T", [1.0] * 3)]
    adam = tuned("adam", "L", [[2.0] * 3, [3.0] * 3, [5.0] * 3], data=STAND_IN)
    more = block("sgd", "M", [2.0] * 3, data=RANDOM) if random else []
    return [*real, *adam, *block("celo", "L", [4.0] * 3, data=STAND_IN), *more]


def _summary(**options) -> Summary:
    return summarize(_cells(), **{"reference": "adam", "reps": 20, **options})


def _value(found: Summary, data: str, metric: str = "final_loss_iqm") -> float | None:
    rows = [r for r in found.aggregate if (r.optimizer, r.metric, r.data) == ("celo", metric, data)]
    return rows[0].value


def test_each_kind_has_figures_of_its_own() -> None:
    found = _summary()
    assert found.kind == "mixed" and [part.kind for part in found.parts] == ["real", "substitute"]
    values = {kind: _value(found, kind) for kind in ("real", "substitute")}
    assert values["real"] is not None and values["substitute"] is not None
    assert values["real"] > 1 > values["substitute"]
    assert {row.data for row in found.aggregate} == {"real", "substitute"}
    alone = summarize([c for c in _cells() if c.key.task == "T"], reference="adam", reps=20)
    assert found.parts[0].aggregate == alone.aggregate
    assert alone.parts == () and alone.kind == "real"
    assert found.run not in (part.run for part in found.parts)
    assert len(found.tasks) == sum(len(part.tasks) for part in found.parts) == 12
    assert found.complete


def test_every_form_says_which_is_which() -> None:
    found = _summary()
    titles = [table.title for table in tables(found)]
    assert len(titles) == 8
    assert all("real data" in title for title in titles[:4])
    assert all("substitute data" in title for title in titles[4:])
    text = render(found)
    assert "MIXED DATA: real (1 tasks) and substitute (1 tasks), never aggregated" in text
    assert "L: substitute wikitext2" in text
    value = json.loads(render(found, "json"))
    assert {row["data"] for row in value["aggregate"]} == {"real", "substitute"}
    assert set(value["provenance"]["data"]) == {"L", "T"}
    for form in ("markdown", "csv"):
        assert "substitute wikitext2" in render(found, form)


def test_what_is_missing_is_said_once() -> None:
    cells = [c for c in _cells() if (c.key.entry, c.key.task) != ("celo", "L")]
    found = summarize(
        cells, reference="adam", reps=20, entries=("adam", "celo"), tasks=("L", "T", "never run")
    )
    assert not found.complete
    missing = [note for note in found.notes if note.startswith("incomplete: celo lacks")]
    assert missing == [
        "incomplete: celo lacks 1 of 2 tasks (never run)",
        "incomplete: celo lacks 1 of 1 tasks (L)",
    ]


def test_the_order_of_cells_does_not_matter() -> None:
    a, b = (to_json(summarize(c, reference="adam", reps=20)) for c in (_cells(), _cells()[::-1]))
    assert json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def test_three_kinds() -> None:
    found = summarize(_cells(random=True), reference=None)
    assert [part.kind for part in found.parts] == ["real", "substitute", "synthetic"]
    assert list(found.labels) == ["adam", "celo", "sgd"]


def test_one_task_on_different_data_is_refused() -> None:
    other = [replace(c, key=replace(c.key, data=RANDOM)) for c in block("sgd", "T", [1.0] * 3)]
    with pytest.raises(UsageError, match="different kinds of data"):
        summarize([*_cells(), *other], reference="adam")


def test_kinds_do_not_excuse_another_horizon() -> None:
    longer = block("sgd", "M", [1.0] * 3, data=RANDOM, schedule=Schedule(200))
    with pytest.raises(UsageError, match="different horizons cannot be compared"):
        summarize([*_cells(), *longer], reference="adam")
