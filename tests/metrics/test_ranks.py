"""Mean ranks, with ties, lost runs and gaps."""

from __future__ import annotations

import math

import numpy as np

from celo.metrics.ranks import average_ranks, mean_rank
from tests.metrics.made_results import line, results


def test_average_ranks_are_scipys() -> None:
    from scipy.stats import rankdata

    losses = np.random.RandomState(0).randn(20, 6).round(0)
    np.testing.assert_array_equal(average_ranks(losses), rankdata(losses, axis=1))
    np.testing.assert_array_equal(average_ranks(np.array([math.inf, 1, math.inf])), [2.5, 1, 2.5])


def test_mean_rank_and_share_of_firsts() -> None:
    curves = {
        "adam": {"A": [line(2.0), line(2.0)], "B": [line(2.0), line(2.0)]},
        "celo": {"A": [line(1.0), line(3.0)], "B": [line(1.0), line(1.0)]},
        "sgd": {"A": [None, line(4.0)], "B": [line(1.0), line(9.0)]},
    }
    found = mean_rank(results(curves))
    values = {o: {n: v.value for n, v in by.items()} for o, by in found.aggregate.items()}
    assert values["adam"] == {"mean": (2 + 1 + 3 + 2) / 4, "first": 0.25}
    assert values["celo"] == {"mean": (1 + 2 + 1.5 + 1) / 4, "first": (1 + 0 + 0.5 + 1) / 4}
    assert values["sgd"] == {"mean": (3 + 3 + 1.5 + 3) / 4, "first": 0.125}
    assert found.tasks["celo", "A"]["mean"] == 1.5
    for by in found.aggregate.values():
        value = by["mean"]
        assert value.low <= value.value <= value.high  # pyright: ignore
    # Task A of celo is 1 or 2, task B 1 or 1.5: all mixtures of these are drawn.
    assert (found.aggregate["celo"]["mean"].low, found.aggregate["celo"]["mean"].high) == (1, 1.75)


def test_only_common_tasks_and_seeds_count() -> None:
    curves = {"adam": {"A": [line(2.0)] * 3, "B": [line(2.0)]}, "celo": {"A": [line(1.0)]}}
    found = mean_rank(results(curves))
    assert found.aggregate["adam"]["mean"].value == 2.0
    assert found.notes == ("rank: over the 1 of 2 tasks that all optimizers have",)
    nothing = mean_rank(results({"adam": {"A": [line(1.0)]}, "celo": {"B": [line(1.0)]}}))
    assert nothing.aggregate["celo"]["mean"].value is None and nothing.notes
