"""VeLO's normaliser is what evaluation-metrics, section 3, says, on the published envelopes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import celo.metrics
from celo.metrics import velo
from celo.metrics.velo import Envelope, adam_steps, build_envelope, published_envelopes
from tests.metrics.made_results import results
from tests.shared_folder import golden_dir

TASK = "Conv_Cifar10_32x64x64"
HALVING = Envelope(np.array([0.0, 10.0, 20.0, 30.0]), np.array([8.0, 4.0, 2.0, 2.0]))


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(golden_dir() / "velodrome__baseline_envelopes.npz", allow_pickle=False) as file:
        return dict(file)


def test_golden_queries(golden: dict[str, np.ndarray]) -> None:
    row = {name: i for i, name in enumerate(golden["tasks"].tolist())}
    queries = [name.partition("/")[2] for name in golden if name.startswith("query/")]
    assert len(queries) >= 4
    for task in queries:
        envelope = Envelope(golden["steps"], golden["loss"][row[task]].astype(np.float64))
        found = adam_steps(golden[f"query/{task}"], envelope)
        # Theirs was computed in float32: a step of the envelope is known to about 1e-7 of it.
        np.testing.assert_allclose(found, golden[f"adam_steps/{task}"], rtol=1e-5, atol=1e-3)


def test_golden_envelopes_are_those_that_are_shipped(golden: dict[str, np.ndarray]) -> None:
    envelopes = published_envelopes()
    assert len(envelopes) == 17
    row = {name: i for i, name in enumerate(golden["tasks"].tolist())}
    for task, envelope in envelopes.items():
        np.testing.assert_allclose(envelope.steps, golden["steps"], rtol=1e-5)
        np.testing.assert_allclose(envelope.loss, golden["loss"][row[task]], rtol=1e-5)


def test_golden_queries_of_the_shipped_envelopes(golden: dict[str, np.ndarray]) -> None:
    shipped = adam_steps(golden[f"query/{TASK}"], published_envelopes()[TASK])
    np.testing.assert_allclose(shipped, [0.0, 2624.0, 8062.5, 100_000.0, 0.0], atol=1.0)


def test_the_file_is_small_and_names_source_and_licence() -> None:
    path = Path(celo.metrics.__file__).with_name("adam_envelope.json")
    assert path.stat().st_size < 300_000
    assert velo.source()["licence"] == "Apache-2.0"
    assert "google/learned_optimization" in velo.source()["origin"]
    assert json.loads(path.read_text())["points"] == 512


def test_adam_alone_is_never_below_the_best_of_four_by_much() -> None:
    alone, best = published_envelopes("adam"), published_envelopes()
    assert len(alone) == 13 and set(alone) <= set(best)
    # Another build of the curves: equal or higher up to noise.
    assert all(np.median(alone[task].loss / best[task].loss) > 0.99 for task in alone)


@pytest.mark.parametrize(
    ("loss", "steps"),
    [(9.0, 0.0), (8.0, 0.0), (6.0, 5.0), (3.0, 15.0), (2.0, 20.0), (1.0, 30.0), (math.nan, 0.0),
     (math.inf, 0.0), (-math.inf, 0.0)],
)  # fmt: skip
def test_adam_steps(loss: float, steps: float) -> None:
    assert adam_steps(loss, HALVING) == steps


def test_an_envelope_is_built_by_the_published_rule() -> None:
    nan = math.nan
    losses = [
        [[8.0, 4.0, 4.0], [8.0, 8.0, 4.0]],  # means 8, 6, 4; smoothed by half: 8, 7, 5.5
        [[9.0, 5.0, nan], [9.0, 5.0, 1.0]],  # 9, 7 and a NaN that spoils the rest
        [[10.0, 2.0, 9.0], [10.0, 2.0, 9.0]],  # 10, 6, 7.5
    ]
    found = build_envelope(np.array(losses), np.array([0, 10, 20]), points=5, ema=0.5)
    np.testing.assert_allclose(found.steps, [0, 5, 10, 15, 20])
    # Smallest: 8, 6, 5.5; interpolated: 8, 7, 6, 5.75, 5.5.
    np.testing.assert_allclose(found.loss, [8.0, 7.0, 6.0, 5.75, 5.5])
    rising = build_envelope(np.array([[[1.0, 2.0, 3.0]]]), np.array([0, 10, 20]), points=3, ema=0)
    np.testing.assert_allclose(rising.loss, [1.0, 1.0, 1.0])


def _published_loss(step: float) -> float:
    envelope = published_envelopes()[TASK]
    return float(np.interp(step, envelope.steps, envelope.loss))


def test_speedup_at_the_end_and_along_the_curve() -> None:
    curve = [10.0, *(_published_loss(step) for step in (10.0, 40.0, 90.0, 120.0))]
    found = velo.speedup(results({"celo": {TASK: [curve, curve]}}))
    own = found.tasks["celo", TASK]
    # Adam's 10, 40, 90, 120 steps at steps 10, 20, 30, 40.
    assert own["last"] == pytest.approx(3.0, rel=1e-6)
    assert own["average"] == pytest.approx((1 + 2 + 3 + 3) / 4, rel=1e-6)
    assert own["maximum"] == pytest.approx(3.0, rel=1e-6)
    for statistic in ("last_iqm", "last_mean", "last_p05", "last_p95"):
        assert found.aggregate["celo"][statistic].value == pytest.approx(3.0, rel=1e-6)
    assert found.aggregate["celo"]["last_std"].value == 0.0
    assert found.aggregate["celo"]["last_iqm"].low == pytest.approx(3.0, rel=1e-6)
    assert found.notes == ()


def test_percentiles_are_over_tasks() -> None:
    tasks = list(published_envelopes())[:3]
    curves = {}
    for task, step in zip(tasks, (40.0, 80.0, 160.0), strict=True):
        envelope = published_envelopes()[task]
        curves[task] = [
            [10.0, 9.0, 8.0, 7.0, float(np.interp(step, envelope.steps, envelope.loss))]
        ]
    found = velo.speedup(results({"celo": curves})).aggregate["celo"]
    assert found["last_p50"].value == pytest.approx(2.0, rel=1e-6)
    assert found["last_mean"].value == pytest.approx(7 / 3, rel=1e-6)
    assert found["last_std"].value == pytest.approx(np.std([1, 2, 4]), rel=1e-6)
    assert sum(name.startswith("last_p") for name in found) == 19


def test_a_lost_seed_spoils_the_mean_and_saturation_is_counted() -> None:
    low = [10.0, 5.0, 4.0, 3.0, 1e-9]
    found = velo.speedup(results({"celo": {TASK: [low]}, "sgd": {TASK: [low, None]}}))
    assert found.aggregate["celo"]["saturated"].value == 1.0
    assert found.tasks["celo", TASK]["last"] == 100_000 / 40
    assert found.tasks["sgd", TASK]["last"] == 0.0
    diverged = [10.0, 5.0, 4.0, 3.0, math.nan]
    assert velo.speedup(results({"o": {TASK: [low, diverged]}})).tasks["o", TASK]["last"] == 0.0


def test_other_data_and_unknown_tasks_are_left_out_and_said() -> None:
    low = [10.0, 5.0, 4.0, 3.0, 1.0]
    found = velo.speedup(
        results({"celo": {TASK: [low], "Mine": [low]}}, data={TASK: "synthetic", "Mine": "real"})
    )
    assert not found.tasks
    assert found.aggregate["celo"]["last_mean"].value is None
    assert any("1 of 2 tasks have no published envelope" in note for note in found.notes)
    assert any("other data than the envelopes" in note for note in found.notes)
    partial = velo.speedup(results({"o": {TASK: [low]}}, data={TASK: "partial"}, split="test"))
    assert any("partial data" in note for note in partial.notes)
    assert any("these are test losses" in note for note in partial.notes)
