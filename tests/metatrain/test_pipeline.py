"""Plans that cannot be finished."""

from __future__ import annotations

from pathlib import Path

import pytest

from celo.errors import UsageError
from celo.metatrain import pipeline
from celo.metatrain.pipeline import run_plan
from celo.metatrain.plan import make_plan, recipe
from celo.metatrain.run import DivergedError
from tests.metatrain.conftest import SMALL, Small
from tests.metatrain.test_run import Telling


def test_a_choice_needs_evaluations(tmp_path: Path) -> None:
    plan = make_plan(recipe=recipe("celo-laptop"), output=tmp_path / "run")
    with pytest.raises(UsageError, match="chooses weights on selection tasks: pass evaluate"):
        run_plan(plan)
    assert not (tmp_path / "run").exists()


def test_every_start_may_diverge(
    spoilt: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "compile_stage", lambda stage, devices: spoilt.program)
    settings = {**SMALL, "patience": 3, "restarts": 2, "rung": 10}
    plan, observer = make_plan(**settings, output=tmp_path / "run"), Telling()
    with pytest.raises(DivergedError, match="every start of .*stage-1 ended in non-fin") as error:
        run_plan(plan, observer=observer)
    assert "smaller --outer-lr or --sigma" in (error.value.hint or "")
    for number in (0, 1):
        assert any(m.startswith(f"start {number}: 3 meta-grad") for m in observer.messages)
    assert not (tmp_path / "run" / "theta.safetensors").exists()
