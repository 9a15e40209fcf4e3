"""Every rule about optimizers: everything registered keeps it, a broken twin does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jax
import pytest

from celo import registry
from celo.testing import (
    OPTIMIZER_RULES,
    ConformanceError,
    Rule,
    check_optimizer,
    optimizer_results,
)
from celo.testing.devices import environment_with_devices, with_devices
from celo.testing.rules import apply_rules
from tests.shared_folder import REPOSITORY
from tests.testing.broken_optimizers import (
    TWINS,
    FloatIteration,
    Gathers,
    Good,
    GoodLearned,
    NoExtraKeywords,
)

# Those whose code is that of another one, with other sizes or a part left out.
VARIANTS = {"velo", "velo-4000", "celo-phase1"}
NAMES = [found.record.name for found in registry.optimizers()]
IN_ONE_PROCESS = [rule for rule in OPTIMIZER_RULES if rule.name != "sharding"]
ELSEWHERE = next(rule for rule in OPTIMIZER_RULES if rule.name == "sharding")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in VARIANTS else ()) for name in NAMES],
)
def test_registered_optimizers_keep_every_rule(name: str) -> None:
    results = check_optimizer(name, IN_ONE_PROCESS)
    record = registry.optimizer(name).record
    inapplicable = set() if record.kind == "learned" else {"theta", "vmap-theta"}
    if not any(hyperparameter.traceable for hyperparameter in record.hyperparameters):
        inapplicable.add("vmap-hyperparameters")
    skipped = {result.rule for result in results if result.status == "skipped"}
    assert skipped == inapplicable


@pytest.mark.slow
def test_registered_optimizers_keep_shardings() -> None:
    _with_eight_devices("-m", "celo.testing.devices", *NAMES)


def test_sharding_is_examined_in_a_process_with_enough_devices() -> None:
    (result,) = check_optimizer("sgd", ELSEWHERE)
    assert result.status == "ok"


@pytest.mark.parametrize("subject", [Good(), GoodLearned()], ids=["hand-crafted", "learned"])
def test_objects_are_checked_without_a_registry(subject: Good | GoodLearned) -> None:
    results = {result.rule: result for result in check_optimizer(subject)}
    assert list(results) == [rule.name for rule in OPTIMIZER_RULES]
    skipped = results["sharding"]
    if len(jax.devices("cpu")) < 8:
        assert skipped.status == "skipped"
        assert "xla_force_host_platform_device_count" in skipped.message


@pytest.mark.parametrize("rule", IN_ONE_PROCESS)
def test_broken_twins_fail(rule: Rule) -> None:
    for make, leaf in TWINS[rule.name]:
        (result,) = apply_rules([rule], make())
        assert result.status == "failed"
        assert leaf in result.message


def test_every_rule_has_a_broken_twin() -> None:
    assert set(TWINS) == {rule.name for rule in OPTIMIZER_RULES}


def test_twin_that_gathers_fails_on_eight_devices() -> None:
    _with_eight_devices("-m", "tests.testing.test_optimizer_rules")


def test_failures_are_raised_with_rule_and_leaf() -> None:
    with pytest.raises(ConformanceError) as caught:
        check_optimizer(FloatIteration())
    message = str(caught.value)
    assert message.startswith("FloatIteration breaks ")
    assert "fields: 'iteration' is float32[], expected an int32 scalar" in message


def test_what_an_optimizer_raises_is_a_failure_of_the_rule() -> None:
    rule = next(rule for rule in OPTIMIZER_RULES if rule.name == "extra-keywords")
    (result,) = optimizer_results(NoExtraKeywords(), rule)
    assert result.message.startswith("raised TypeError: ")


def test_one_rule_or_several() -> None:
    first, second = OPTIMIZER_RULES[:2]
    assert [r.rule for r in check_optimizer(Good(), first)] == [first.name]
    assert [r.rule for r in check_optimizer(Good(), (first, second))] == [first.name, second.name]


def test_rules_name_parametrised_tests(collected: str) -> None:
    assert "[fields]" in collected


@pytest.fixture
def collected(tmp_path: Path) -> str:
    (tmp_path / "test_mine.py").write_text(
        "import pytest\nfrom celo.testing import OPTIMIZER_RULES, check_optimizer\n"
        "@pytest.mark.parametrize('rule', OPTIMIZER_RULES)\n"
        "def test_mine(rule): check_optimizer('sgd', rule)\n"
    )
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    return found.stdout


def test_flags_of_others_are_kept() -> None:
    assert with_devices(None) == "--xla_force_host_platform_device_count=8"
    mixed = with_devices("--xla_a=1 --xla_force_host_platform_device_count=2")
    assert mixed == "--xla_a=1 --xla_force_host_platform_device_count=8"


def _with_eight_devices(*arguments: str) -> None:
    child = subprocess.run(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        env=environment_with_devices(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert child.returncode == 0, child.stdout + child.stderr


def _check_sharding_twin() -> None:
    assert len(jax.devices("cpu")) == 8
    assert [r.status for r in check_optimizer(Good(), ELSEWHERE)] == ["ok"]
    ((make, leaf),) = TWINS["sharding"]
    (result,) = apply_rules([ELSEWHERE], make())
    assert result.status == "failed", result
    assert leaf in result.message, result
    assert make().label == Gathers().name


if __name__ == "__main__":
    _check_sharding_twin()
