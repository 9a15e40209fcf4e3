"""What a record declares about rules is honoured, shown, and refused where it is not needed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import celo.testing
from celo import registry
from celo.cli.plugins import command
from celo.records import Rounding, RuleException
from celo.testing import ConformanceWarning, check_optimizer, optimizer_results
from celo.testing.checks import OPTIMIZER_RULES
from celo.testing.optimizer_subject import subject_of
from celo.testing.rules import Result, Violation, apply_rules, expect_close, with_exceptions
from tests.e2e.neighbours import Neighbour
from tests.testing.broken_optimizers import NoisyWhenCompiled

RULES = {rule.name: rule for rule in OPTIMIZER_RULES}
OK = Result("pure", "", "ok")
FAILED = Result("scan", "", "failed", "'params|w' is lost")
SKIPPED = Result("theta", "", "skipped", "hand-crafted")
SHOWN = "differs by 5e-04 of its largest number, 1e-03 is allowed: it is noisy"
KEYWORDS = "extra-keywords"
NEIGHBOUR = Neighbour(
    "exempt",
    source=f"""
from celo.records import OptimizerPlugin, RuleException

RECORD = OptimizerPlugin(
    name="bad-exempt",
    kind="hand-crafted",
    summary="s",
    build="tests.testing.broken_optimizers:NoExtraKeywords",
    exceptions=(RuleException("{KEYWORDS}", "written for another loop"),),
)
""",
)


@pytest.mark.parametrize(
    ("tolerance", "status", "message"),
    [(None, "failed", "expected ["), (1e-4, "failed", "expected ["), (1e-3, "ok", SHOWN)],
)
def test_declared_rounding_is_allowed_and_shown(
    tolerance: float | None, status: str, message: str
) -> None:
    rounding = None if tolerance is None else Rounding(tolerance, "it is noisy")
    subject = dataclasses.replace(subject_of(NoisyWhenCompiled()), rounding=rounding)
    (result,) = apply_rules([RULES["jit-equals-eager"]], subject)
    assert result.status == status and "'momentum|" in result.message
    assert message in result.message


@pytest.mark.parametrize("wrong", [[float("nan"), 1.0], [float("inf"), 1.0], [0.9, 1.0]])
def test_rounding_allows_neither_nan_nor_what_is_larger(wrong: list[float]) -> None:
    rounding = Rounding(1e-2, "it is noisy")
    assert expect_close(np.asarray([0.008, 1.0]), np.asarray([0.0, 1.0]), "it", rounding)
    for found, expected in ((wrong, [0.0, 1.0]), ([0.5, 0.5], [0.0, 0.0])):
        with pytest.raises(Violation, match="it has "):
            expect_close(np.asarray(found), np.asarray(expected), "it", rounding)


def test_a_declared_failure_is_exempt_and_keeps_its_message() -> None:
    (result,) = with_exceptions([FAILED], [RuleException("scan", "unrolled")], OPTIMIZER_RULES)
    assert (result.status, result.message) == ("exempt", "unrolled ('params|w' is lost)")
    assert with_exceptions([OK, FAILED, SKIPPED], [], OPTIMIZER_RULES) == [OK, FAILED, SKIPPED]


@pytest.mark.parametrize(
    ("result", "message"), [(OK, "is kept: remove"), (SKIPPED, "does not apply: remove")]
)
def test_an_exception_without_need_is_a_failure(result: Result, message: str) -> None:
    exceptions = [RuleException(result.rule, "long ago")]
    (found,) = with_exceptions([result], exceptions, OPTIMIZER_RULES)
    assert found.status == "failed" and message in found.message


def test_an_exception_from_no_rule_is_a_failure() -> None:
    _, unknown = with_exceptions([OK], [RuleException("scam", "typo")], OPTIMIZER_RULES)
    assert (unknown.rule, unknown.status) == ("scam", "failed")
    assert "no rule has this name" in unknown.message


@pytest.fixture
def neighbour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    NEIGHBOUR.install(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    registry.forget()
    yield
    registry.forget()


@pytest.mark.usefixtures("neighbour")
def test_the_one_line_test_honours_the_record_and_warns() -> None:
    with pytest.warns(ConformanceWarning, match=f"exempt from {KEYWORDS}: written for another"):
        (result,) = check_optimizer("bad-exempt", RULES[KEYWORDS])
    assert result.status == "exempt"
    (other,) = optimizer_results("bad-exempt", RULES["abstract-init"])
    assert other.status == "ok"


def test_the_command_line_shows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    exceptions = [RuleException("scan", "unrolled")]
    results = with_exceptions([OK, FAILED], exceptions, OPTIMIZER_RULES)
    monkeypatch.setattr(celo.testing, "results_by_name", lambda name: ("optimizer", results))
    monkeypatch.setenv("XLA_FLAGS", "")
    text = CliRunner().invoke(command, ["check", "any"])
    assert text.exit_code == 0
    assert any(
        line.split()[:3] == ["scan", "exempt", "unrolled"] for line in text.output.splitlines()
    )
    report = json.loads(CliRunner().invoke(command, ["check", "any", "--format", "json"]).output)
    assert report["ok"] and report["rules"][1]["status"] == "exempt"


@pytest.mark.usefixtures("neighbour")
def test_the_record_shows_them() -> None:
    shown = " ".join(CliRunner().invoke(command, ["show", "bad-exempt"]).output.split())
    assert f"does not keep the rule {KEYWORDS}: written for another loop" in shown.replace("`", "")
