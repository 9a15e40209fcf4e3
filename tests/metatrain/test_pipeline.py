"""Stages, their starts, and the choice of weights among finalists."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from celo.errors import UsageError
from celo.metatrain import starts
from celo.metatrain.pipeline import run_plan
from celo.metatrain.plan import Selection, make_plan, read_recipe, recipe
from celo.metatrain.run import DivergedError
from celo.metatrain.starts import starts_of
from tests.metatrain.conftest import SMALL, Small
from tests.metatrain.test_run import Telling


def test_a_choice_needs_evaluations(tmp_path: Path) -> None:
    plan = make_plan(recipe=recipe("celo-laptop"), output=tmp_path / "run")
    with pytest.raises(UsageError, match="chooses weights on selection tasks: pass evaluate"):
        run_plan(plan)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_every_start_may_diverge(
    spoilt: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starts, "compile_stage", lambda stage, devices: spoilt.program)
    settings = {**SMALL, "patience": 3, "restarts": 2, "rung": 10}
    plan, observer = make_plan(**settings, output=tmp_path / "run"), Telling()
    with pytest.raises(DivergedError, match="every start of .*stage-1 ended in non-fin") as error:
        run_plan(plan, observer=observer)
    assert "smaller --outer-lr or --sigma" in (error.value.hint or "")
    for number in (0, 1):
        assert any(m.startswith(f"start {number}: 3 meta-grad") for m in observer.messages)
    assert not (tmp_path / "run" / "theta.safetensors").exists()


TWO_FINALISTS = (
    'name = "two"\nplugin = "learnable-sgdm"\n[settings]\n'
    + "".join(f"{k} = {json.dumps(v)}\n" for k, v in SMALL.items() if k != "plugin")
    + "[[stages]]\nrestarts = 3\nrung = 5\nfinalists = 2\n[[stages]]\nfinalists = 2\n"
    + 'keep_every = 12\n[selection]\ntasks = ["T"]\n'
)


def test_finalists_go_through_all_stages_and_the_best_is_chosen(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starts, "compile_stage", lambda stage, devices: small.program)
    plan = make_plan(recipe=read_recipe(TWO_FINALISTS, "two.toml"), output=tmp_path / "run")
    asked: list[str] = []

    def evaluate(
        texts: Sequence[str], selection: Selection, folder: Path
    ) -> dict[str, dict[str, float]]:
        asked.extend(texts)
        return {text: {"T": 1.0 if "start-1/thetas" in text else 2.0} for text in texts}

    result = run_plan(plan, evaluate=evaluate)
    survivors = sorted(
        p.name
        for p in (tmp_path / "run" / "stage-1").iterdir()
        if len((p / "log.jsonl").read_text().splitlines()) > 1
    )
    assert len(survivors) == 2
    # Both finalists, each with the weights kept in the middle and the last ones.
    assert len(asked) == 4
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["chosen"] == "stage-2/start-1/thetas/000000012.safetensors"
    assert summary["runs"] == [f"stage-1/{survivors[1]}", "stage-2/start-1"]
    second = json.loads((tmp_path / "run" / "stage-2/start-1/run.json").read_text())
    first = json.loads((tmp_path / "run" / "stage-2/start-0/run.json").read_text())
    assert second["init"] != first["init"]
    assert result.weights.read_bytes() == (tmp_path / "run" / summary["chosen"]).read_bytes()


def test_starts_take_the_weights_given_in_turn(tmp_path: Path) -> None:
    [plan] = make_plan(**SMALL, restarts=3).stages
    found = starts_of(plan, ["a", "b"], tmp_path)
    assert [s.init for s in found] == ["a", "b", "a"]
    assert len({s.config.seed for s in found}) == 3
    assert [s.folder.name for s in found] == ["start-0", "start-1", "start-2"]
    [plan] = make_plan(**SMALL).stages
    assert [s.folder.name for s in starts_of(plan, ["a", "b"], tmp_path)] == ["start-0", "start-1"]
    assert [s.folder for s in starts_of(plan, [None], tmp_path)] == [tmp_path]
