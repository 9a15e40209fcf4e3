"""Metrics of everybody: chosen by name, computed, aggregated, shown; what goes wrong is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from celo import registry
from celo.errors import BrokenPluginError, UnknownNameError, UsageError
from celo.evaluation.choosing import choose_metrics
from celo.evaluation.published import CERTAINTY, published_results
from celo.evaluation.scores import ScoreOptions
from celo.evaluation.summary import STATISTICS, Summary, summarize
from celo.evaluation.tables import render
from tests.evaluation.synthetic_cells import block, curve, tuned

CACHE: dict[str, Any] = {}
FINALS = [[5.0, 5.0, 5.0], [2.0, 2.1, 2.2], [9.0, 9.0, 9.0]]


def _cells() -> list[Any]:
    cells = []
    for task in ("A", "B"):
        cells += [*tuned("adam", task, FINALS), *block("celo", task, [1.0, 2.0, 4.0])]
    return cells


def _summary(metrics: str, **options: Any) -> Summary:
    return summarize(
        _cells(),
        options=ScoreOptions(ema=0.0),
        cache=CACHE,
        reps=20,
        metrics=choose_metrics([metrics]),
        **options,
    )


def _values(found: Summary, metric: str) -> dict[str, float | None]:
    return {row.optimizer: row.value for row in found.aggregate if row.metric == metric}


# --- choosing


def test_the_first_two_are_the_default() -> None:
    assert [m.name for m in choose_metrics()] == ["final_loss", "speedup"]
    assert [m.name for m in choose_metrics(["VeLO_speedup:baselines=adam,rank"])] == [
        "velo_speedup", "rank"
    ]  # fmt: skip
    every = [m.name for m in choose_metrics(["all"])]
    assert {"final_loss", "algoperf", "paired", "profile"} <= {*every}


def test_options_are_typed_and_checked() -> None:
    (chosen,) = choose_metrics(["algoperf:r_max=2"])
    assert chosen.options == {"r_max": 2.0}
    with pytest.raises(UsageError, match="'algoperf' has no option 'rmax'") as error:
        choose_metrics(["algoperf:rmax=2"])
    assert "r_max" in (error.value.hint or "")
    with pytest.raises(UsageError, match="algoperf:r_max must be a number of at least"):
        choose_metrics(["algoperf:r_max=0.5"])


def test_unknown_metrics_are_one_sentence_with_the_nearest_names() -> None:
    with pytest.raises(UnknownNameError, match="unknown metric 'speedupp'") as error:
        choose_metrics(["speedupp"])
    assert error.value.hint == "did you mean speedup or velo-speedup?"


@pytest.mark.parametrize("text", ["", "rank@x", "rank+clip", "%"])
def test_lists_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="the list of metrics .* is not understood"):
        choose_metrics([text])


def test_a_metric_is_asked_for_once() -> None:
    with pytest.raises(UsageError, match="'algoperf' is asked for twice"):
        choose_metrics(["algoperf,algoperf:r_max=2"])


def test_records_import_nothing() -> None:
    for entry in registry.metrics():
        assert entry.record.kind in ("run", "comparison")
        assert callable(registry.resolve(entry.record.compute))
        assert entry.record.citation


# --- those of others


def test_a_foreign_run_metric_is_aggregated_like_ours(foreign_metrics: Path) -> None:
    found = _summary("speedup,drop:factor=2")
    assert _values(found, "drop_mean") == pytest.approx({"adam": 15.8, "celo": 2 * (10 - 7 / 3)})
    metrics = [row.metric for row in found.aggregate if row.optimizer == "celo"]
    assert metrics == [f"{name}_{s}" for name in ("speedup", "drop") for s in STATISTICS]
    value = json.loads(render(found, "json"))
    assert value["tasks"][0]["scores"] == {"drop": 16.0}
    assert value["provenance"]["metrics"]["drop"]["options"] == {"factor": 2.0}
    assert value["provenance"]["metrics"]["drop"]["plugin"]["distribution"] == "celo-gauge"
    assert "drop [95 % interval]" in render(found)
    assert "drop" in render(found, "csv").splitlines()[0].split(",")


def test_less_is_better_turns_improvement_round(foreign_metrics: Path) -> None:
    found = _summary("last")
    # celo is below adam on 2 of 3 seeds, twice out of the nine pairs more: 1, 2 < 2.0 2.1 2.2 < 4.
    assert _values(found, "last_probability_of_improvement")["celo"] == pytest.approx(5.5 / 9)
    assert _values(found, "last_optimality_gap")["celo"] is None
    assert "IQM relative" not in render(found)


def test_a_foreign_comparison_metric(foreign_metrics: Path) -> None:
    found = _summary("count")
    assert _values(found, "count_runs") == {"adam": 6.0, "celo": 6.0}
    assert "counted" in found.notes


@pytest.mark.parametrize(
    ("name", "words"),
    [("raises", "failed: RuntimeError: no idea"), ("nan", "gave back nan for adam on A"),
     ("text", "gave back 'good' for adam on A"), ("nothing", r"gave back {}, expected a celo")],
)  # fmt: skip
def test_a_broken_metric_is_one_sentence(foreign_metrics: Path, name: str, words: str) -> None:
    with pytest.raises(BrokenPluginError, match=f"the metric '{name}' of celo-gauge 2.0 {words}"):
        _summary(name)


# --- ours, through the summary


def test_every_metric_of_ours_is_in_json_and_table() -> None:
    found = _summary("all")
    text = render(found)
    assert max(map(len, text.splitlines())) <= 80
    value = json.loads(render(found, "json"))
    names = {row["metric"] for row in value["aggregate"]}
    assert {"algoperf_score", "rank_mean", "paired_p_value", "velo_speedup_last_p50"} <= names
    assert {p["form"] for p in value["profiles"]} == {
        "run_score", "average_score", "steps_to_target"
    }  # fmt: skip
    assert {f["metric"] for f in value["figures"]} >= {"rank_mean", "algoperf_steps_to_target"}
    assert _values(found, "rank_mean") == {"adam": 5 / 3, "celo": 4 / 3}
    assert list(value)[-2:] == ["cost", "provenance"]
    assert "published" not in value


def test_company_moves_only_what_says_so() -> None:
    cells = [*_cells(), *block("sgd", "A", [3.0] * 3), *block("sgd", "B", [3.0] * 3)]
    options = {"options": ScoreOptions(ema=0.0), "cache": CACHE, "reps": 20}
    free = [e.name for e in registry.metrics() if not e.record.depends_on_company]
    metrics = choose_metrics([",".join(free)])
    assert len(metrics) >= 4
    alone = summarize([c for c in cells if c.key.entry != "sgd"], metrics=metrics, **options)
    together = summarize(cells, metrics=metrics, **options)
    for optimizer in ("adam", "celo"):
        rows = [[r for r in s.aggregate if r.optimizer == optimizer] for s in (alone, together)]
        assert rows[0] == rows[1]
        curves = [[p for p in s.profiles if p.optimizer == optimizer] for s in (alone, together)]
        assert curves[0] == curves[1]


def test_scores_at_a_horizon() -> None:
    late = curve(1.0)
    late[-1] = float("nan")
    cells = [*tuned("adam", "A", FINALS), *block("celo", "A", [late, curve(1.0), curve(1.0)])]
    found = summarize(
        cells, options=ScoreOptions(ema=0.0, horizon=50), cache=CACHE, reps=20, entries=["celo"]
    )
    own = [r for r in found.tasks if r.optimizer == "celo"]
    assert [r.status for r in own] == ["done"] * 3  # it diverged later
    assert [r.final_loss for r in own] == [5.5] * 3
    assert {r.speedup for r in own} == {50 / 50}
    assert found.provenance["scores"]["horizon"] == 50
    assert "100 steps scored at 50" in render(found)
    assert "scored at step 50" in render(found, "markdown")
    with pytest.raises(UsageError, match="horizon 55 is no evaluated step of a run of 100 steps"):
        summarize(cells, options=ScoreOptions(horizon=55), cache=CACHE, reps=20)
    with pytest.raises(UsageError, match="at least 1 step"):
        ScoreOptions(horizon=0)


# --- published figures


def test_published_figures_have_sources_and_marks() -> None:
    sources, figures = published_results()
    assert {figure.source for figure in figures} == {source.name for source in sources}
    assert {figure.certainty for figure in figures} <= {*CERTAINTY}
    known = {(f.optimizer, f.metric): f.value for f in figures if f.metric}
    assert known["celo", "final_loss_iqm"] == 1.20
    assert known["celo", "speedup_iqm"] == 1.86
    assert known["velo-4000", "final_loss_iqm"] == 1.41


@pytest.mark.parametrize("format_", ["table", "markdown", "json"])
def test_published_figures_stand_beside_ours(format_: str) -> None:
    plain = _summary("final_loss,speedup")
    found = _summary("final_loss,speedup", published=published_results()[1])
    assert found.aggregate == plain.aggregate  # never aggregated
    text = render(found, format_)
    if format_ == "json":
        value = json.loads(text)
        assert len(value["published"]) == len(published_results()[1])
        assert value["published"][0]["certainty"] == "S"
        return
    (row,) = (r for r in found.aggregate if (r.optimizer, r.metric) == ("celo", "final_loss_iqm"))
    ours = f"{row.value:.2f} [{row.low:.2f}, {row.high:.2f}]"
    lines = [line for line in text.splitlines() if "final loss IQM" in line and "1.2" in line]
    assert any(ours in line for line in lines)
    assert "never aggregated with ours" in text
    assert "S: secondary source" in " ".join(text.split())
    assert "here: 2 tasks, 2 of them on all of the real data, at 100 steps" in " ".join(
        text.split()
    )
    if format_ == "table":
        assert max(map(len, text.splitlines())) <= 80


def test_scores_relative_to_something_else_are_no_counterpart() -> None:
    for reference in ("celo", None):
        found = _summary("final_loss", published=published_results()[1], reference=reference)
        (row,) = (r for r in found.aggregate if (r.optimizer, r.metric) == ("celo", _IQM))
        lines = [line for line in render(found).splitlines() if " 1.2  S" in line]
        assert len(lines) == 1 and lines[0].endswith("  -")
        assert reference is None or row.value == 1.0


_IQM = "final_loss_iqm"
