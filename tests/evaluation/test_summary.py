"""From cells to a comparison: which cells count, what is refused, what is said."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from celo.errors import UsageError
from celo.evaluation.cells import Cell, DataIdentity, Schedule
from celo.evaluation.scores import ScoreOptions
from celo.evaluation.selection import unique
from celo.evaluation.summary import METRICS, STATISTICS, Aggregate, Summary, TaskResult, summarize
from celo.evaluation.tables import render, to_json
from tests.evaluation.synthetic_cells import block, cell, curve, tuned

RAW = ScoreOptions(ema=0.0)
CACHE: dict[str, Any] = {}  # shared by the tests: content decides, so it is harmless


def summary(cells: list[Cell], **options: Any) -> Summary:
    return summarize(cells, **{"options": RAW, "cache": CACHE, "reps": 50, **options})


def row(found: Summary, optimizer: str, metric: str) -> Aggregate:
    (one,) = (r for r in found.aggregate if (r.optimizer, r.metric) == (optimizer, metric))
    return one


def results(found: Summary, optimizer: str, task: str = "T") -> list[TaskResult]:
    return [r for r in found.tasks if (r.optimizer, r.task) == (optimizer, task)]


def adam(task: str = "T", **fields: Any) -> list[Cell]:
    """Best mean at lr=0.01 (2.0); seed 0 alone would prefer lr=0.001."""
    return tuned(
        "adam", task, [[1.0, 5.0, 6.0], [2.0, 2.0, 2.0], [np.nan * curve(1.0)] * 3], **fields
    )


# --- scores


def test_scores_are_relative_to_the_tuned_reference_seed_by_seed() -> None:
    found = summary([*adam(), *block("celo", "T", [1.0, 2.0, curve(1.0, reach=50)])])
    assert [r.final_loss_score for r in results(found, "celo")] == [2.0, 1.0, 2.0]
    # Adam reaches 2.0 at step 100; celo at 90 (of a line from 10 to 1), 100, and 50.
    assert [r.speedup for r in results(found, "celo")] == [100 / 90, 1.0, 100 / 50]
    assert [r.final_loss for r in results(found, "celo")] == [1.0, 2.0, 1.0]
    mine = results(found, "adam")
    assert [(r.final_loss_score, r.speedup) for r in mine] == [(1.0, 1.0)] * 3
    assert [r.hyperparameters for r in mine] == [{"lr": 0.01}] * 3
    assert row(found, "celo", "final_loss_mean").value == pytest.approx(5 / 3)
    assert row(found, "celo", "final_loss_iqm").cells == 3
    assert row(found, "adam", "final_loss_probability_of_improvement").value == 0.5
    assert row(found, "celo", "final_loss_probability_of_improvement").value == pytest.approx(5 / 6)


def test_selection_per_seed() -> None:
    found = summary(adam(), options=ScoreOptions(ema=0.0, selection="per-seed"))
    assert [r.hyperparameters["lr"] for r in results(found, "adam")] == [0.001, 0.01, 0.01]


def test_every_hand_crafted_optimizer_is_tuned_alike() -> None:
    cells = [*adam(), *tuned("sgd", "T", [[1.0, 9.0, 9.0], [4.0, 4.0, 4.0]], grid=(0.1, 1.0))]
    found = summary(cells)
    assert [r.hyperparameters for r in results(found, "sgd")] == [{"lr": 1.0}] * 3
    assert row(found, "sgd", "speedup_iqm").tuning_trials == 2
    assert row(found, "adam", "speedup_iqm").tuning_trials == 3


def test_smoothing_and_split_are_those_asked_for() -> None:
    cells = [*adam(), *block("celo", "T", [1.0] * 3)]
    assert summary(cells, options=ScoreOptions()).tasks[-1].final_loss > 1.5
    tested = summary(cells, options=replace(RAW, split="test"))
    assert tested.tasks[-1].final_loss == 2.0  # test losses are one higher
    assert {r.split for r in tested.aggregate} == {"test"}
    with pytest.raises(UsageError, match="no losses of the split 'outer_valid'"):
        summary(cells, options=replace(RAW, split="outer_valid"))


def test_divergence_scores_zero_and_is_counted() -> None:
    broken = curve(1.0)
    broken[-1] = np.nan
    cells = [*adam(), *block("celo", "T", [1.0, 1.0, broken])]
    strict, lenient = summary(cells), summary(cells, options=replace(RAW, divergence="published"))
    assert [r.status for r in results(strict, "celo")] == ["done", "done", "diverged"]
    assert results(strict, "celo")[2].final_loss == math.inf
    assert results(strict, "celo")[2].final_loss_score == 0.0
    assert results(lenient, "celo")[2].final_loss_score == pytest.approx(2 / 1.9)
    for found in (strict, lenient):
        assert row(found, "celo", "final_loss_mean").diverged == 1
        assert found.complete


def test_divergence_of_training_or_of_the_split_alone_is_divergence() -> None:
    trained, measured = block("celo", "T", [1.0, 1.0])
    trained = replace(trained, status="diverged")
    overflow = {**measured.curves, "eval/test/loss": np.full(11, np.inf)}
    found = summary(
        [trained, replace(measured, curves=overflow)],
        reference=None,
        options=replace(RAW, split="test"),
    )
    assert {(r.status, r.final_loss) for r in found.tasks} == {("diverged", math.inf)}


def test_failures_score_zero_are_counted_and_make_it_incomplete() -> None:
    found = summary([*adam(), *block("celo", "T", [1.0, 1.0, None])])
    assert [r.final_loss_score for r in results(found, "celo")] == [2.0, 2.0, 0.0]
    assert row(found, "celo", "final_loss_mean").value == pytest.approx(4 / 3)
    assert row(found, "celo", "final_loss_mean").failed == 1
    assert not found.complete


def test_a_lost_reference_is_said() -> None:
    found = summary([*block("adam", "T", [None] * 3), *block("celo", "T", [1.0] * 3)])
    assert [r.final_loss_score for r in results(found, "celo")] == [0.0] * 3
    assert any(
        "the reference adam has no finite final loss (seed 0, 1, 2)" in n for n in found.notes
    )


# --- references


def test_no_reference_means_losses_without_scores() -> None:
    found = summary([*adam(), *block("celo", "T", [1.0] * 3)], reference=None)
    assert {(r.final_loss_score, r.speedup) for r in found.tasks} == {(None, None)}
    assert {(r.value, r.low, r.high) for r in found.aggregate} == {(None, None, None)}
    assert {r.cells for r in found.aggregate} == {3}
    assert found.complete and not found.notes


def test_an_absent_reference_is_said() -> None:
    found = summary(block("celo", "T", [1.0] * 3))
    assert {r.final_loss_score for r in found.tasks} == {None}
    assert found.notes == ("no results of the reference adam: there are no scores",)


def test_a_reference_missing_on_some_task_leaves_those_scores_out() -> None:
    cells = [*adam("A"), *block("celo", "A", [1.0] * 3), *block("celo", "B", [1.0] * 3)]
    found = summary(cells)
    assert {r.final_loss_score for r in results(found, "celo", "B")} == {None}
    assert row(found, "celo", "final_loss_mean").cells == 3
    assert row(found, "celo", "final_loss_mean").value == 2.0
    assert any("adam on 1 of 2 tasks" in note for note in found.notes)
    assert not found.complete


def test_a_fixed_setting_can_be_the_reference() -> None:
    cells = [*block("adam:lr=0.1", "T", [4.0] * 3), *block("celo", "T", [1.0] * 3)]
    found = summary(cells, reference="adam:lr=0.1")
    assert {r.final_loss_score for r in results(found, "celo")} == {4.0}


# --- which cells count


def test_of_each_triple_the_block_with_most_seeds_counts() -> None:
    cells = [
        *block("celo", "T", [5.0]),
        *block("celo", "T", [1.0, 2.0, 3.0]),
        *block("celo", "T", [6.0, 6.0]),
        cell("celo", "T", 4, 4.0, block=(4,)),
    ]
    found = summary(cells, reference=None)
    assert [(r.seed, r.final_loss) for r in found.tasks] == [(0, 1.0), (1, 2.0), (2, 3.0), (4, 4.0)]


def test_ties_between_blocks_go_to_the_smaller_seeds_then_to_map() -> None:
    pairs = {(0, 2): 5.0, (0, 1): 1.0, (1, 2): 6.0}
    cells = [cell("celo", "T", s, y, block=seeds) for seeds, y in pairs.items() for s in seeds]
    assert {r.final_loss for r in summary(cells, reference=None).tasks} == {1.0}
    layouts = [
        c for b, y in (("vmap", 5.0), ("map", 1.0)) for c in block("celo", "T", [y], batching=b)
    ]
    assert {r.final_loss for r in summary(layouts, reference=None).tasks} == {1.0}


def test_unfinished_blocks_do_not_count() -> None:
    whole = block("celo", "T", [1.0])
    begun = block("celo", "T", [2.0, 2.0, 2.0])[:2]
    assert {r.final_loss for r in summary([*whole, *begun], reference=None).tasks} == {1.0}
    found = summary([*adam()[:-1], *whole], reference=None)  # one cell of the grid is missing
    assert {r.optimizer for r in found.tasks} == {"celo"}
    assert not found.complete
    assert any("adam lacks 1 of 1 tasks (T); 8 cells of unfinished" in note for note in found.notes)


def test_newer_numerics_count_and_mixtures_are_said() -> None:
    cells = [
        *block("celo", "T", [5.0, 5.0, 5.0]),
        *block("celo", "T", [1.0], numerics=(2, 1, 1)),
        *block("sgd", "T", [3.0]),
    ]
    found = summary(cells, reference=None)
    assert [r.final_loss for r in results(found, "celo")] == [1.0]
    assert any("sgd ran with older numerics" in note for note in found.notes)


def test_a_grown_grid_counts_when_it_has_as_many_seeds() -> None:
    cells = [
        *tuned("adam", "T", [[3.0]], grid=(0.1,)),
        *tuned("adam", "T", [[5.0], [2.0]], grid=(0.1, 1.0)),
    ]
    assert results(summary(cells), "adam")[0].final_loss == 2.0


def test_repeated_cells_count_once_and_a_failure_yields() -> None:
    failed = block("celo", "T", [None])
    for final in range(40):  # so many that a rule by content alone would pick a failure
        good = block("celo", "T", [float(final)])
        for cells in ([*good, *failed, *good], [*failed, *good]):
            assert [cell.status for cell in unique(cells)] == ["done"]


def test_of_two_results_of_one_cell_the_same_one_counts_in_any_order() -> None:
    cells = [*block("celo", "T", [1.0]), *block("celo", "T", [2.0])]
    losses = {summary(order, reference=None).tasks[0].final_loss for order in (cells, cells[::-1])}
    assert len(losses) == 1


# --- gaps


def test_a_missing_task_is_said_and_counted() -> None:
    cells = [*adam("A"), *adam("B"), *block("celo", "A", [1.0] * 3)]
    found = summary(cells)
    assert not found.complete
    assert row(found, "celo", "final_loss_iqm").cells == 3
    assert row(found, "adam", "final_loss_iqm").cells == 6
    assert "incomplete: celo lacks 1 of 2 tasks (B)" in found.notes


def test_what_was_asked_for_and_is_not_there_is_missing() -> None:
    cells = block("celo", "T", [1.0] * 3)
    assert summary(cells, reference=None, expected={("celo", "T"): (0, 1, 2)}).complete
    assert not summary(cells, reference=None, expected={("celo", "T"): (0, 3)}).complete
    # What nobody asked for is not missing.
    assert summary(cells, reference=None, tasks=["T", "U"], expected={("celo", "T"): ()}).complete
    assert not summary(cells, reference=None, tasks=["T", "U"]).complete
    assert not summary(cells, reference=None, entries=["celo", "sgd"]).complete
    assert not summary(cells, reference=None, complete=False).complete


def test_unequal_seeds_are_cut_to_the_common_ones_and_said() -> None:
    cells = [
        *adam("A"),
        *adam("B"),
        *block("celo", "A", [1.0] * 3),
        *block("celo", "B", [1.0, 4.0]),
    ]
    found = summary(cells)
    assert row(found, "celo", "final_loss_mean").cells == 4
    assert row(found, "celo", "final_loss_mean").value == pytest.approx((2 + 2 + 2 + 0.5) / 4)
    assert any("seeds that all its tasks have (0, 1); 1 other runs" in n for n in found.notes)
    assert any("celo: fewer than 3 seeds" in note for note in found.notes)
    assert not any("adam: fewer" in note for note in found.notes)


# --- refusals

_REAL = DataIdentity("cifar10", "real", "real", "a" * 64)
_SYNTHETIC = DataIdentity("cifar10", "synthetic", "synthetic", "b" * 64)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda: block("celo", "U", [1.0], schedule=Schedule(200)), ["100 steps", "200 steps"]),
        (lambda: block("celo", "U", [1.0], schedule=Schedule(100, 20)), ["every 10", "every 20"]),
        (lambda: block("celo", "T", [1.0], data=_SYNTHETIC), ["for T", "real data", "synthetic"]),
        (lambda: block("celo", "U", [1.0], data=replace(_REAL, published_splits=True)),
         ["published splits", "80/10/10"]),
        (lambda: block("celo", "T", [1.0], data=_REAL), ["for T", "f" * 16, "a" * 16]),
        (lambda: block("lopt", "U", [1.0], weights="b" * 64), ["for lopt", "a" * 64, "b" * 64]),
    ],
)  # fmt: skip
def test_what_must_not_be_compared_is_refused(
    change: Callable[[], list[Cell]], words: list[str]
) -> None:
    cells = [*adam(), *block("lopt", "T", [1.0], weights="a" * 64), *change()]
    for order in (cells, cells[::-1]):
        with pytest.raises(UsageError, match="cannot be compared") as error:
            summary(order)
        assert all(word in error.value.message for word in words), error.value.message


def test_partial_and_real_data_may_meet() -> None:
    partial = DataIdentity("mnist", "partial", "partial (1 of 2 train rows)", "c" * 64)
    found = summary(
        [*block("celo", "T", [1.0], data=_REAL), *block("celo", "U", [1.0], data=partial)]
    )
    assert found.kind == "real"


def test_cells_that_are_not_shown_are_not_refused() -> None:
    other = block("celo", "U", [1.0], data=_SYNTHETIC)
    assert summary([*adam(), *other], tasks=["T"]).complete


def test_nothing_to_show_is_said() -> None:
    with pytest.raises(UsageError, match="no results"):
        summary([])
    with pytest.raises(UsageError, match="no results"):
        summary(block("celo", "T", [1.0]), entries=["sgd"], reference=None)


# --- machine output


def _many() -> list[Cell]:
    broken = curve(1.0)
    broken[-1] = np.inf
    celo = [c for t in ("A", "B") for c in block("celo", t, [1.0, 3.0, broken], weights="a" * 64)]
    celo = [replace(c, provenance={"label": "celo[bundled]"}) for c in celo]
    return [*adam("A"), *adam("B"), *celo, *block("sgd:lr=0.1", "A", [2.5, None, 3.0])]


def test_the_contract_of_the_json() -> None:
    value = json.loads(render(summary(_many()), "json"))
    assert list(value) == [
        *("schema", "run", "complete", "not_publishable"),
        *("aggregate", "tasks", "cost", "provenance"),
    ]
    assert value["schema"] == 1
    assert value["complete"] is False
    names = {
        "aggregate": "optimizer metric split value low high cells diverged tuning_trials data",
        "tasks": "task optimizer seed hyperparameters final_loss final_loss_score speedup status",
    }
    for part, keys in names.items():
        assert all(set(r) == set(keys.split()) for r in value[part])
    metrics = [f"{m}_{s}" for m in METRICS for s in STATISTICS]
    assert [r["metric"] for r in value["aggregate"]] == metrics * 3
    assert {r["optimizer"] for r in value["tasks"]} == {"adam", "celo", "sgd:lr=0.1"}
    lost = [r for r in value["tasks"] if r["status"] != "done"]
    assert [(r["optimizer"], r["final_loss"]) for r in lost] == [
        ("celo", None), ("sgd:lr=0.1", None), ("celo", None)
    ]  # fmt: skip
    assert value["provenance"]["optimizers"]["celo"]["label"] == "celo[bundled]"
    assert value["provenance"]["optimizers"]["celo"]["weights"] == "a" * 64
    assert all(r["tuning_trials"] == (3 if r["optimizer"] == "adam" else 1) for r in value["cost"])
    assert {r["ms_per_step"] for r in value["cost"] if r["optimizer"] != "adam"} == {2.0}


def test_the_order_of_cells_changes_nothing() -> None:
    cells = _many()
    expected = render(summary(cells), "json")
    for seed in range(3):
        random.Random(seed).shuffle(cells)
        assert render(summary(cells), "json") == expected


def test_tables_follow_the_order_asked_for() -> None:
    found = summary(_many(), entries=["sgd:lr=0.1", "celo"], tasks=["B", "A"])
    assert list(found.labels) == ["sgd:lr=0.1", "celo", "adam"]
    assert list(found.data) == ["B", "A"]
    places = [(r.task, r.optimizer) for r in found.tasks if r.seed == 0]
    assert places == [
        ("B", "celo"),
        ("B", "adam"),
        ("A", "sgd:lr=0.1"),
        ("A", "celo"),
        ("A", "adam"),
    ]


def test_company_does_not_change_an_optimizers_numbers() -> None:
    cells = _many()
    alone = summary([c for c in cells if c.key.entry != "sgd:lr=0.1"])
    together = summary(cells)
    for optimizer in ("adam", "celo"):
        assert [r for r in together.aggregate if r.optimizer == optimizer] == [
            r for r in alone.aggregate if r.optimizer == optimizer
        ]


def test_the_run_hash_names_what_is_comparable_and_nothing_else() -> None:
    base = summary(adam()).run
    assert summary(block("celo", "U", [1.0]), reference=None).run == base
    for change in (
        {"schedule": Schedule(200)},
        {"data": _SYNTHETIC},
        {"data": replace(_REAL, published_splits=True)},
    ):
        assert summary(block("celo", "T", [1.0], **change), reference=None).run != base


def test_costs_may_differ_while_the_rest_agrees() -> None:
    cells = _many()
    slow = [replace(c, cost={"ms_per_step": 9.0}, provenance={"platform": "gpu"}) for c in cells]
    values = [to_json(summary(these)) for these in (cells, slow)]
    assert values[0]["cost"] != values[1]["cost"]
    for value in values:
        del value["cost"], value["provenance"]
    assert values[0] == values[1]


def test_random_weights_keep_their_label() -> None:
    cells = [replace(c, provenance={"label": "celo"}) for c in block("celo@random:3", "T", [1.0])]
    assert summary(cells).labels == {"celo@random:3": "celo@random:3"}
