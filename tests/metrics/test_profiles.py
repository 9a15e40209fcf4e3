"""Performance profiles are rliable's: points by the golden file, intervals to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from celo.metrics.profiles import (
    average_score,
    profile_with_interval,
    profiles,
    run_score,
)
from tests.metrics.made_results import line, results
from tests.shared_folder import golden_dir


def test_golden_profiles() -> None:
    with np.load(golden_dir() / "metrics__rliable.npz") as golden:
        np.testing.assert_array_equal(run_score(golden["A"], golden["tau"]), golden["profile_A"])
        np.testing.assert_array_equal(
            average_score(golden["A"], golden["tau"]), golden["avg_profile_A"]
        )


@pytest.mark.parametrize("form", ["run_score", "average_score"])
def test_intervals_are_rliables_to_the_bit(form: str) -> None:
    from rliable import library

    from celo.evaluation import statistics

    scores = np.exp(0.3 * np.random.RandomState(3).randn(3, 5))
    tau = np.linspace(0.0, 2.0, 5)
    with statistics._global_seed(0):
        points, intervals = library.create_performance_profile(
            {"x": scores}, tau, use_score_distribution=form == "run_score", reps=100
        )
    value, bounds = profile_with_interval(scores, tau, form, reps=100)
    np.testing.assert_array_equal(value, points["x"])
    np.testing.assert_array_equal(bounds, intervals["x"])


def test_profiles_of_a_comparison() -> None:
    curves = {
        "adam": {"A": [line(2.0)] * 2, "B": [line(2.0)] * 2},
        "celo": {"A": [line(1.0)] * 2, "B": [line(4.0)] * 2},
    }
    found = profiles(results(curves), tau_max=4.0, points=9, of="final_loss")
    own = [p for p in found.profiles if p.optimizer == "celo"]
    assert [p.form for p in own] == ["run_score", "average_score"]
    # Scores 2 and 0.5: strictly above 0, both; above 0.5 ... 1.5, one; above 2, none.
    assert own[0].tau == (0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4)
    assert own[0].value == (1.0, 0.5, 0.5, 0.5, 0, 0, 0, 0, 0)
    assert own[0].low == own[0].value == own[0].high
    assert found.aggregate["celo"]["final_loss_area"].value == pytest.approx(1.25)
    assert list(found.aggregate["celo"]) == ["final_loss_area"]
    empty = profiles(results(curves, reference=None))
    assert not empty.profiles
