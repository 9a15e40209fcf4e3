"""Scores are what evaluation-metrics, section 1, says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celo.errors import UsageError
from celo.evaluation.scores import (
    LOST,
    Curve,
    ScoreOptions,
    final_loss,
    final_loss_of,
    final_loss_score,
    judge,
    select,
    smooth,
    speedup,
    speedup_of,
)
from celo.metrics.views import RunView

NAN, INF = math.nan, math.inf
STRICT, PUBLISHED = ScoreOptions(), ScoreOptions(divergence="published")
XS = np.array([0, 10, 20])


def view(curve: Curve, horizon: float = 20) -> RunView:
    status = "diverged" if curve.diverged else "done"
    steps = curve.xs.astype(int)
    return RunView(
        "T", "o", 0, int(horizon), steps, curve.smoothed, curve.smoothed, curve.final_loss, status
    )


def scores(reference: Curve, own: Curve, horizon: float) -> tuple[float | None, float | None]:
    pair = view(own, horizon), view(reference, horizon)
    return final_loss_of(*pair), speedup_of(*pair)


def test_smoothing_of_the_specification() -> None:
    np.testing.assert_allclose(smooth([10, 0, 0], 0.9), [10, 9, 8.1], rtol=1e-15)


def test_smoothing_repeats_the_value_before_a_nan() -> None:
    np.testing.assert_allclose(smooth([4.0, NAN, 2.0], 0.5), [4.0, 4.0, 3.0])
    assert np.isnan(smooth([NAN, 1.0], 0.5)).all()


def test_nothing_is_finite_after_an_infinity() -> None:
    np.testing.assert_array_equal(smooth([1.0, INF, 2.0, NAN], 0.9), [1.0, INF, INF, INF])
    assert np.isnan(smooth([INF, -INF, 1.0], 0.9)[1:]).all()


def test_smoothing_is_done_in_double_precision() -> None:
    assert smooth(np.array([1, 2], np.float32), 0.9).dtype == np.float64


def test_final_loss_is_the_last_finite_value() -> None:
    assert final_loss(np.array([3.0, 2.0, INF, NAN])) == 2.0
    assert final_loss(np.array([NAN, INF])) == INF
    assert final_loss(np.zeros(0)) == INF


@pytest.mark.parametrize(
    ("reference", "own", "score"),
    [(2.0, 4.0, 0.5), (4.0, 2.0, 2.0), (3.0, 3.0, 1.0), (INF, 1.0, 0.0), (1.0, INF, 0.0),
     (1.0, 0.0, 0.0), (1.0, -1.0, 0.0), (NAN, 1.0, 0.0), (1.0, NAN, 0.0)],
)  # fmt: skip
def test_final_loss_score(reference: float, own: float, score: float) -> None:
    assert final_loss_score(reference, own) == score


@pytest.mark.parametrize(
    ("losses", "target", "expected"),
    [([5, 3, 1], 2, 1.0), ([5, 2, 1], 2, 2.0), ([2, 3, 1], 2, 20.0), ([5, 4, 3], 2, 0.0),
     ([5, NAN, 1], 2, 1.0), ([5, -INF, 3], 2, 0.0), ([5, 3, 1], INF, 0.0), ([5, 3, 1], NAN, 0.0)],
)  # fmt: skip
def test_speedup(losses: list[float], target: float, expected: float) -> None:
    assert speedup(XS, losses, target, 20) == expected


@given(
    st.lists(st.floats(0.01, 100), min_size=2, max_size=30),
    st.sampled_from([0.0, 0.5, 0.9]),
)
def test_an_optimizer_against_itself_scores_one(losses: list[float], ema: float) -> None:
    xs = np.arange(len(losses)) * 10
    own = judge(xs, losses, ScoreOptions(ema=ema))
    score, times = scores(own, own, float(xs[-1]))
    assert score == 1.0
    assert times >= 1.0


def test_a_constant_curve_above_the_target_never_speeds_up() -> None:
    reference = judge(XS, [3.0, 2.0, 1.0], STRICT)
    assert scores(reference, judge(XS, [3.0, 3.0, 3.0], STRICT), 20)[1] == 0.0


@pytest.mark.parametrize("last", [NAN, INF, -INF])
def test_a_run_that_diverges_scores_zero_unless_asked(last: float) -> None:
    reference = judge(XS, [4.0, 2.0, 2.0], ScoreOptions(ema=0.0))
    curves = {
        rule: judge(XS, [4.0, 1.0, last], ScoreOptions(ema=0.0, divergence=rule))
        for rule in ("strict", "published")
    }
    assert all(curve.diverged for curve in curves.values())
    assert curves["strict"].final_loss == INF
    assert curves["published"].final_loss == 1.0
    assert scores(reference, curves["strict"], 20) == (0.0, 0.0)
    assert scores(reference, curves["published"], 20) == (2.0, 2.0)


def test_a_nan_in_the_middle_is_no_divergence() -> None:
    curve = judge(XS, [4.0, NAN, 2.0], STRICT)
    assert not curve.diverged
    assert math.isfinite(curve.final_loss)


def test_known_divergence_counts_whatever_the_losses_say() -> None:
    assert judge(XS, [3.0, 2.0, 1.0], STRICT, diverged=True).final_loss == INF


def test_runs_without_a_curve_are_lost_under_both_rules() -> None:
    for options in (STRICT, PUBLISHED):
        reference = judge(XS, [4.0, 2.0, 2.0], options)
        assert scores(reference, LOST, 20) == (0.0, 0.0)
        assert scores(LOST, reference, 20) == (0.0, 0.0)


def test_tuning_takes_the_best_mean() -> None:
    losses = np.array([[1.0, 9.0], [4.0, 5.0], [2.0, 8.0]])
    assert select(losses, "mean") == [1, 1]
    assert select(losses, "per-seed") == [0, 1]


def test_a_grid_point_that_loses_a_seed_loses_to_one_that_does_not() -> None:
    assert select(np.array([[0.1, INF], [5.0, 5.0]]), "mean") == [1, 1]


def test_among_lost_grid_points_fewer_losses_then_the_mean_decide() -> None:
    losses = np.array([[INF, INF, 1.0], [3.0, INF, 3.0], [2.0, 3.0, INF], [INF, INF, INF]])
    assert select(losses, "mean") == [2, 2, 2]
    assert select(np.full((2, 3), INF), "mean") == [0, 0, 0]


def test_ties_go_to_the_first_grid_point() -> None:
    for rule in ("mean", "per-seed"):
        assert select(np.array([[3.0], [2.0], [2.0]]), rule) == [1]


@pytest.mark.parametrize(
    "wrong", [{"ema": 1.0}, {"ema": -0.1}, {"ema": NAN}, {"split": "valid"}, {"selection": "best"},
              {"divergence": "never"}],
)  # fmt: skip
def test_options_are_checked(wrong: dict) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        ScoreOptions(**wrong)
