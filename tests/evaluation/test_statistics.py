"""Statistics are rliable's, repeat exactly and do not depend on company."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from celo.errors import CeloError
from celo.evaluation import statistics
from celo.evaluation.statistics import aggregate, probability_of_improvement, rectangle
from tests.shared_folder import golden_dir


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(golden_dir() / "metrics__rliable.npz") as file:
        return dict(file)


def _scores(seed: int, runs: int = 3, tasks: int = 4) -> np.ndarray:
    return np.exp(0.3 * np.random.RandomState(seed).randn(runs, tasks))


def test_golden_points(golden: dict[str, np.ndarray]) -> None:
    a = aggregate(golden["A"], cache={}, reps=10)
    b = aggregate(golden["B"], cache={}, reps=10)
    found = [a["iqm"], b["iqm"], a["mean"], a["median"], a["optimality_gap"]]
    names = ["iqm_A", "iqm_B", "mean_A", "median_A", "og_A"]
    for estimate, name in zip(found, names, strict=True):
        assert estimate.value == pytest.approx(float(golden[name]), abs=1e-12), name


def test_golden_intervals(golden: dict[str, np.ndarray]) -> None:
    estimates = aggregate(golden["A"], cache={}, reps=2000, seed=0)
    rows = [estimates[name] for name in ("iqm", "median", "mean", "optimality_gap")]
    found = np.array([[row.low for row in rows], [row.high for row in rows]])
    np.testing.assert_allclose(found, golden["ci_A_2000_percentile_npseed0"], atol=1e-12)


def test_golden_probability_of_improvement(golden: dict[str, np.ndarray]) -> None:
    estimate = probability_of_improvement(golden["A"], golden["B"], cache={}, reps=500)
    assert estimate.value == pytest.approx(float(golden["poi_AB"]), abs=1e-12)
    np.testing.assert_allclose([estimate.low, estimate.high], golden["poi_ci_AB_500"], atol=0.01)


@pytest.mark.parametrize(("value", "name"), [(0.0, "iqm_A_one_zero"), (np.inf, "iqm_A_one_inf")])
def test_golden_extremes_are_trimmed(
    golden: dict[str, np.ndarray], value: float, name: str
) -> None:
    scores = golden["A"].copy()
    scores.flat[0] = value
    with np.errstate(invalid="ignore"):  # percentiles between infinite means
        found = aggregate(scores, cache={}, reps=10)["iqm"].value
    assert found == pytest.approx(float(golden[name]), abs=1e-12)


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize(("runs", "others"), [(3, 3), (4, 2)])
def test_interval_of_the_probability_is_rliables_to_the_bit(
    seed: int, runs: int, others: int
) -> None:
    from rliable import library, metrics

    # Rounded, so that ties occur.
    own, reference = _scores(1, runs).round(1), _scores(2, others).round(1)
    ours = probability_of_improvement(own, reference, cache={}, reps=100, seed=seed)
    with statistics._global_seed(seed):
        point, interval = library.get_interval_estimates(
            {"x": [own, reference]},
            lambda x, y: np.array([metrics.probability_of_improvement(x, y)]),
            reps=100,
        )
    assert (ours.value, ours.low, ours.high) == (point["x"][0], *interval["x"][:, 0])


def test_probability_when_everything_ties() -> None:
    same = probability_of_improvement(np.ones((3, 2)), np.ones((2, 2)), cache={}, reps=20)
    assert (same.value, same.low, same.high) == (0.5, 0.5, 0.5)


def test_probability_of_thirty_optimizers_is_fast() -> None:
    reference = _scores(0, 3, 17)
    probability_of_improvement(reference, reference, cache={}, reps=10)  # the import
    began = time.process_time()
    for seed in range(30):
        probability_of_improvement(_scores(seed, 3, 17), reference, cache={}, reps=2000)
    assert time.process_time() - began < 8  # rliable itself: several minutes


def test_numpys_generator_is_left_alone() -> None:
    np.random.seed(123)
    expected = np.random.RandomState(123).rand(4)
    aggregate(_scores(0), cache={}, reps=5)
    probability_of_improvement(_scores(0), _scores(1), cache={}, reps=5)
    np.testing.assert_array_equal(np.random.rand(4), expected)


def test_results_do_not_depend_on_company_or_order() -> None:
    alone = aggregate(_scores(1), cache={}, reps=50)
    np.random.rand(3)
    aggregate(_scores(2), cache={}, reps=50)
    probability_of_improvement(_scores(1), _scores(2), cache={}, reps=50)
    assert aggregate(_scores(1), cache={}, reps=50) == alone


def test_the_cache_is_keyed_by_everything_that_matters() -> None:
    cache: dict = {}
    for scores in (_scores(1), _scores(1).reshape(6, 2), _scores(2)):
        aggregate(scores, cache=cache, reps=5)
    aggregate(_scores(1), cache=cache, reps=6)
    aggregate(_scores(1), cache=cache, reps=5, seed=1)
    probability_of_improvement(_scores(1), _scores(2), cache=cache, reps=5)
    probability_of_improvement(_scores(2), _scores(1), cache=cache, reps=5)
    assert len(cache) == 7
    aggregate(_scores(1).astype(np.float64), cache=cache, reps=5)
    assert len(cache) == 7


def test_another_rliable_is_another_result(monkeypatch: pytest.MonkeyPatch) -> None:
    cache: dict = {}
    aggregate(_scores(1), cache=cache, reps=5)
    monkeypatch.setattr(statistics, "library_version", lambda: "99")
    aggregate(_scores(1), cache=cache, reps=5)
    assert len(cache) == 2


def test_a_spoiled_cache_is_computed_again() -> None:
    cache: dict = {}
    right = aggregate(_scores(1), cache=cache, reps=5)
    for rubbish in (None, "x", [[1.0, 2.0]] * 4, [[1.0, 2.0, "3"]] * 4, [[1.0, 2.0, 3.0]]):
        spoiled = dict.fromkeys(cache, rubbish)
        assert aggregate(_scores(1), cache=spoiled, reps=5) == right


def test_a_cached_result_imports_nothing_heavy() -> None:
    cache: dict = {}
    estimate = aggregate(_scores(1), cache=cache, reps=20)["iqm"]
    chance = probability_of_improvement(_scores(1), _scores(2), cache=cache, reps=20)
    code = f"""
import json, sys
import numpy as np
from celo.evaluation import statistics, summary, tables
cache = json.loads({json.dumps(json.dumps(cache))})
x, y = (np.exp(0.3 * np.random.RandomState(s).randn(3, 4)) for s in (1, 2))
iqm = statistics.aggregate(x, cache=cache, reps=20)["iqm"]
chance = statistics.probability_of_improvement(x, y, cache=cache, reps=20)
heavy = [m for m in ("jax", "pandas", "rliable", "scipy", "arch") if m in sys.modules]
print(json.dumps([heavy, iqm.value, iqm.low, iqm.high, chance.value, chance.low, chance.high]))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = [estimate.value, estimate.low, estimate.high]
    expected += [chance.value, chance.low, chance.high]
    assert json.loads(out.stdout) == [[], *expected]


def test_a_broken_rliable_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rliable", None)
    with pytest.raises(CeloError, match="rliable cannot be imported") as error:
        aggregate(_scores(1), cache={}, reps=5)
    assert "pandas<3" in (error.value.hint or "")


def test_a_missing_rliable_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])  # where metadata of packages are looked for
    with pytest.raises(CeloError, match="need rliable, which is not installed") as error:
        statistics.library_version()
    assert error.value.hint == "pip install rliable"


def test_rectangle_of_complete_scores() -> None:
    matrix = rectangle({"a": {1: 2.0, 0: 1.0}, "b": {0: 3.0, 1: 4.0}})
    assert matrix is not None
    np.testing.assert_array_equal(matrix.values, [[1.0, 3.0], [2.0, 4.0]])
    assert (matrix.seeds, matrix.tasks, matrix.left_out) == ((0, 1), ("a", "b"), ())


def test_rectangle_keeps_the_common_seeds_and_names_the_others() -> None:
    matrix = rectangle({"a": {0: 1.0, 1: 2.0}, "b": {1: 3.0, 2: 0.0}})
    assert matrix is not None
    np.testing.assert_array_equal(matrix.values, [[2.0, 3.0]])
    assert matrix.left_out == (("a", 0), ("b", 2))


def test_no_common_seed_is_no_matrix() -> None:
    assert rectangle({"a": {0: 1.0}, "b": {1: 1.0}}) is None
    assert rectangle({}) is None
