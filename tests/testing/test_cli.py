"""`celo plugins check NAME`."""

from __future__ import annotations

import json
from pathlib import Path

from celo.testing import DATA_RULES, OPTIMIZER_RULES
from tests.cli.process import celo


def test_check_of_a_good_optimizer() -> None:
    result = celo("plugins", "check", "sgd")
    assert result.returncode == 0, result.stderr
    rows = {line.split()[0]: line.split()[1] for line in result.stdout.splitlines()[2:]}
    assert list(rows) == [rule.name for rule in OPTIMIZER_RULES]
    assert rows["sharding"] == "ok"
    assert rows["theta"] == "skipped"


def test_check_of_a_broken_optimizer_fails(bad_plugins: Path) -> None:
    result = celo("plugins", "check", "raises", "--format", "json")
    assert result.returncode == 1
    report = json.loads(result.stdout)
    assert (report["name"], report["kind"], report["ok"]) == ("raises", "optimizer", False)
    failed = {rule["rule"]: rule["message"] for rule in report["rules"]}
    assert failed["fields"] == "raised RuntimeError: no more ideas"


def test_check_of_a_data_set() -> None:
    result = celo("plugins", "check", "digits", "--format", "json")
    assert result.returncode == 0
    report = json.loads(result.stdout)
    assert report["kind"] == "data set"
    assert [rule["rule"] for rule in report["rules"]] == [rule.name for rule in DATA_RULES]


def test_check_of_an_unknown_name() -> None:
    result = celo("plugins", "check", "adamm")
    assert result.returncode == 2
    assert "unknown optimizer 'adamm'" in result.stderr
    assert "did you mean adam" in result.stderr
