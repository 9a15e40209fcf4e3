"""Paired tests are textbook ones; corrections hold; lost runs are decided by rule."""

from __future__ import annotations

import math

import numpy as np
import pytest

from celo.metrics.paired import (
    against_reference,
    holm,
    iqm_difference,
    mean_log_ratio,
    paired_test,
    sign_flip_test,
    verdict,
)
from celo.metrics.resampling import iqm, rows
from tests.metrics.made_results import line, results

INF = math.inf


def test_paired_test_is_students_on_log_ratios() -> None:
    from scipy.stats import ttest_rel

    own, other = [1.0, 1.1, 0.9], [1.3, 1.6, 1.0]
    expected = ttest_rel(np.log(other), np.log(own))
    interval = expected.confidence_interval(0.95)
    found = paired_test(own, other)
    assert found.ratio == pytest.approx(math.exp(np.mean(np.log(other) - np.log(own))))
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx(
        (math.exp(interval.low), math.exp(interval.high))
    )


def test_equal_runs_are_no_difference() -> None:
    same = paired_test([2.0, 3.0], [2.0, 3.0])
    assert (same.ratio, same.low, same.high, same.p_value) == (1.0, 1.0, 1.0, 1.0)


def test_a_single_pair_cannot_be_tested() -> None:
    found = paired_test([1.0], [2.0])
    assert (found.ratio, found.low, found.p_value) == (2.0, None, None)
    assert verdict([1.0], [2.0], found.p_value) == "unsure"


@pytest.mark.parametrize(
    ("own", "other", "p", "said"),
    [([INF] * 3, [1.0] * 3, 0.0, "worse"), ([1.0] * 3, [INF] * 3, 0.0, "better"),
     ([INF, 1.0, 1.0], [1.0] * 3, None, "unsure"), ([INF] * 3, [INF] * 3, None, "unsure"),
     ([INF], [1.0], None, "unsure"), ([0.0, 1.0], [1.0, 1.0], None, "unsure")],
)  # fmt: skip
def test_lost_runs(own: list[float], other: list[float], p: float | None, said: str) -> None:
    found = paired_test(own, other)
    assert found.p_value == p and found.low is None
    assert verdict(own, other, found.p_value) == said


def test_verdicts_need_an_adjusted_p_value_below_5_percent() -> None:
    own, other = [1.0, 1.0], [2.0, 2.0]
    assert verdict(own, other, 0.05) == "better"
    assert verdict(other, own, 0.05) == "worse"
    assert verdict(own, other, 0.051) == "unsure"
    assert verdict(own, own, 0.0) == "unsure"


def test_holm_of_the_textbook() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, None, 0.9]) == [1.0, None, 1.0]
    assert holm([]) == []


def test_sign_flips_are_counted_exactly() -> None:
    assert sign_flip_test([1.0, 2.0, 3.0]) == 2 / 8
    assert sign_flip_test([1.0, -1.0]) == 1.0
    assert sign_flip_test([]) is None
    assert sign_flip_test([0.1] * 3) == 2 / 8  # rounding does not make a sum less extreme
    many = sign_flip_test([0.5] * 17)
    assert many is not None and many < 0.001
    assert many == sign_flip_test([0.5] * 17)


def test_iqm_is_rliables() -> None:
    from rliable import metrics

    values = np.exp(np.random.RandomState(0).randn(3, 17))
    assert iqm(values.ravel()) == pytest.approx(metrics.aggregate_iqm(values), rel=1e-12)
    assert iqm(np.array([5.0])) == 5.0


def test_the_difference_of_iqms_is_paired() -> None:
    rng = np.random.default_rng(0)
    # Seeds differ a lot, the two optimizers always by the same.
    base = {f"T{i}": dict(enumerate(rng.uniform(0.5, 2.0, 3))) for i in range(6)}
    better = {task: {s: x + 0.1 for s, x in by.items()} for task, by in base.items()}
    found = iqm_difference(better, base, 500)
    assert found is not None
    a, b, difference = found
    assert a.value - b.value == pytest.approx(0.1)  # pyright: ignore
    assert difference.low == pytest.approx(0.1) and difference.high == pytest.approx(0.1)
    assert a.high - a.low > 0.1  # pyright: ignore
    assert iqm_difference({"A": {0: 1.0}}, {"B": {0: 1.0}}, 10) is None


def test_draws_depend_on_task_and_number_of_runs_alone() -> None:
    np.testing.assert_array_equal(rows("A", 3, 50), rows("A", 3, 50))
    assert (rows("A", 3, 50) != rows("B", 3, 50)).any()
    assert rows("A", 3, 50).max() == 2


def test_mean_log_ratio_caps_what_is_lost() -> None:
    assert mean_log_ratio([1.0, 2.0], [math.e, 2.0]) == pytest.approx(0.5)
    assert mean_log_ratio([INF, INF], [1.0, INF]) == pytest.approx(-math.log(100) / 2)
    assert mean_log_ratio([1.0], [INF]) == pytest.approx(math.log(100))


def test_against_the_reference() -> None:
    jitter = [1.0, 1.01, 1.02]
    names = [f"T{i}" for i in range(6)]
    curves = {
        "adam": {t: [line(2.0 * j) for j in jitter] for t in names},
        "celo": {t: [line(j * (1.0 + 0.01 * i)) for i, j in enumerate(jitter)] for t in names},
        "sgd": {t: [line(2.0 * j) for j in jitter] for t in names},
    }
    found = against_reference(results(curves))
    own = {name: value.value for name, value in found.aggregate["celo"].items()}
    assert own["wins"] == 6 and own["losses"] == 0
    assert own["difference"] == pytest.approx(0.98, abs=0.01)
    assert own["p_value"] == pytest.approx(2 * 2 / 64)  # Holm: the smaller of two
    assert found.aggregate["sgd"]["p_value"].value == 1.0
    assert found.aggregate["sgd"]["wins"].value == 0
    assert found.aggregate["adam"]["p_value"].value is None
    assert found.tasks["celo", "T0"]["ratio"] == pytest.approx(1.98, abs=0.01)
    alone = against_reference(results(curves, reference=None))
    assert "no reference" in alone.notes[0]
