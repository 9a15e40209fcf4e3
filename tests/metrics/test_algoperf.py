"""AlgoPerf's profile and score, by hand and by its own trapezoids."""

from __future__ import annotations

import math

import numpy as np
import pytest

from celo.metrics.algoperf import profile, profile_score, ratios, score, steps_to_target
from tests.metrics.made_results import line, results, run

INF = math.inf


def test_steps_to_target() -> None:
    one = run("o", "T", 0, [10.0, 4.0, 3.0, 5.0, 2.0])
    assert steps_to_target(one, 4.0) == 10
    assert steps_to_target(one, 2.5) == 40
    assert steps_to_target(one, 1.0) == INF
    assert steps_to_target(one, 11.0) == 1  # met before the first step
    assert steps_to_target(one, INF) == INF
    assert steps_to_target(run("o", "T", 0, [1.0, math.nan]), 2.0) == INF
    assert steps_to_target(run("o", "T", 0, None), 2.0) == INF


def test_ratios_are_to_the_fastest_and_nobody_wins_where_nobody_arrives() -> None:
    found = ratios(np.array([[10.0, INF, INF], [20.0, 5.0, INF]]))
    np.testing.assert_array_equal(found, [[1.0, INF, INF], [2.0, 1.0, INF]])


def test_profile_counts_tasks() -> None:
    found = profile(np.array([1.0, 2.0, INF]), np.array([1.0, 1.9, 2.0, 4.0]))
    np.testing.assert_allclose(found, [1 / 3, 1 / 3, 2 / 3, 2 / 3])


def test_score_is_the_integral_over_100_points() -> None:
    rng = np.random.default_rng(0)
    ratio = np.where(rng.random((5, 17)) < 0.2, INF, 1 + 4 * rng.random((5, 17)))
    ratio[0] = 1.0
    tau = np.linspace(1.0, 4.0, 100)
    values = profile(ratio, tau)
    by_hand = ((values[:, 1:] + values[:, :-1]) / 2 * np.diff(tau)).sum(axis=-1) / 3.0
    np.testing.assert_allclose(profile_score(ratio), by_hand, rtol=1e-12)
    assert profile_score(ratio)[0] == 1.0
    assert profile_score(np.array([4.1, INF])) == 0.0
    assert profile_score(np.array([1.0, 2.0]), r_max=2.0) == pytest.approx(0.5, abs=0.01)


def test_score_of_a_comparison() -> None:
    # adam is at its final loss at 40; celo passes it at 20 on A, never on B.
    curves = {
        "adam": {"A": [line(2.0)] * 3, "B": [line(2.0)] * 3},
        "celo": {"A": [[10.0, 5.0, 2.0, 2.0, 2.0]] * 3, "B": [line(3.0)] * 3},
    }
    found = score(results(curves))
    assert found.tasks["celo", "A"]["steps_to_target"] == 20
    assert found.tasks["celo", "B"]["steps_to_target"] is None
    own, anchor = found.aggregate["celo"], found.aggregate["adam"]
    assert own["score"].value == pytest.approx(0.5)
    assert own["met"].value == 0.5
    assert own["geometric_mean"].value == pytest.approx(math.sqrt(2.0 * 40 / 41))
    # Twice as slow on A: counts from tau 2 of 1..4.
    assert anchor["score"].value == pytest.approx((1.0 + 2 / 3) / 2, abs=0.01)
    assert (anchor["score"].low, anchor["score"].high) == (anchor["score"].value,) * 2
    curve = next(p for p in found.profiles if p.optimizer == "adam")
    assert curve.value[0] == 0.5 and curve.value[-1] == 1.0
    assert not found.notes


def test_time_is_the_median_over_seeds() -> None:
    fast, slow, never = [10.0, 2.0, 2.0, 2.0, 2.0], line(2.0), line(3.0)
    curves = {"adam": {"A": [line(2.0)] * 3}, "celo": {"A": [fast, slow, never]}}
    found = score(results(curves))
    assert found.tasks["celo", "A"]["steps_to_target"] == 40
    assert found.aggregate["celo"]["score"].low == 0.0
    assert found.aggregate["celo"]["score"].high == 1.0


def test_only_common_tasks_count_and_a_reference_is_needed() -> None:
    curves = {"adam": {"A": [line(2.0)], "B": [line(2.0)]}, "celo": {"A": [line(1.0)]}}
    found = score(results(curves))
    assert ("adam", "B") not in found.tasks
    assert found.notes == ("algoperf: over the 1 of 2 tasks that all optimizers have",)
    alone = score(results(curves, reference=None))
    assert alone.aggregate["celo"]["score"].value is None
    assert "reference" in alone.notes[0]
