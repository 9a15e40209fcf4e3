"""The functions that third parties call: every rule, one line."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from celo.protocol import LearnedOptimizer, Optimizer, Task
from celo.testing.data_rules import DATA_RULES, DataSubject, find_data
from celo.testing.optimizer_subject import OptimizerSubject, subject_of
from celo.testing.rules import (
    ConformanceWarning,
    Result,
    Rule,
    apply_rules,
    require,
    with_exceptions,
)
from celo.testing.state_rules import STATE_RULES
from celo.testing.task_rules import TASK_RULES, TaskSubject, task_subject
from celo.testing.text_rules import TEXT_RULES, TextSubject, find_text
from celo.testing.transform_rules import TRANSFORM_RULES

OPTIMIZER_RULES: tuple[Rule[OptimizerSubject], ...] = (*STATE_RULES, *TRANSFORM_RULES)

Rules = Rule[Any] | Iterable[Rule[Any]] | None


def check_optimizer(
    optimizer: str | Optimizer | LearnedOptimizer, rules: Rules = None
) -> list[Result]:
    """Holds an optimizer against the contract of `celo.protocol`.

        from celo.testing import OPTIMIZER_RULES, check_optimizer

        @pytest.mark.parametrize("rule", OPTIMIZER_RULES)
        def test_lion(rule):
            check_optimizer("lion", rule)

    Args:
      optimizer: a spec such as "lion" or "lion:b1=0.95", or an object. A learned optimizer is
        examined with random weights unless the spec names some (`velo@PATH`). Objects show their
        hyperparameters to no rule, and `sharding` needs eight devices for them.
      rules: one rule or several; None means `OPTIMIZER_RULES`.

    Returns:
      One result a rule, in order; none of them failed.

    Warns:
      ConformanceWarning: for every rule that its record declares an exception from.

    Raises:
      ConformanceError: an `AssertionError` that names every broken rule and the leaf.
      UsageError: the spec names nothing that is installed.
    """
    results = optimizer_results(optimizer, rules)
    label = optimizer if isinstance(optimizer, str) else optimizer.name
    require(str(label), results)
    for result in results:
        if result.status == "exempt":
            message = f"{label} is exempt from {result.rule}: {result.message}"
            warnings.warn(message, ConformanceWarning, stacklevel=2)
    return results


def optimizer_results(
    optimizer: str | Optimizer | LearnedOptimizer, rules: Rules = None
) -> list[Result]:
    """As `check_optimizer`, failures among the results instead of raised."""
    subject = subject_of(optimizer)
    results = apply_rules(_listed(rules, OPTIMIZER_RULES), subject)
    return with_exceptions(results, subject.exceptions, OPTIMIZER_RULES)


def check_task(task: str | Task, rules: Rules = None) -> list[Result]:
    """Holds a task against the contract of `celo.protocol`, on synthetic data.

    Args:
      task: a registered name or an object (which is then held against no record).
      rules: one rule or several; None means `TASK_RULES`.

    Raises:
      ConformanceError: names every broken rule and the leaf.
      UsageError: no task has this name.
    """
    results = task_results(task, rules)
    require(task if isinstance(task, str) else task.name, results)
    return results


def task_results(task: str | Task | TaskSubject, rules: Rules = None) -> list[Result]:
    """As `check_task`, failures among the results instead of raised."""
    subject = task if isinstance(task, TaskSubject) else task_subject(task)
    return apply_rules(_listed(rules, TASK_RULES), subject)


def check_data(name: str, rules: Rules = None) -> list[Result]:
    """Holds a data set against what its record declares; all rules are skipped where it is missing.

    Args:
      name: a registered name.
      rules: one rule or several; None means `DATA_RULES` for images, `TEXT_RULES` for text.

    Raises:
      ConformanceError: names every broken rule and the array or the part.
      UsageError: no data set has this name.
    """
    results = data_results(name, rules)
    require(name, results)
    return results


def data_results(data: str | DataSubject | TextSubject, rules: Rules = None) -> list[Result]:
    """As `check_data`, failures among the results instead of raised."""
    if isinstance(data, TextSubject):
        return apply_rules(_listed(rules, TEXT_RULES), data)
    if isinstance(data, DataSubject):
        return apply_rules(_listed(rules, DATA_RULES), data)
    # A rule for the other kind of set is skipped.
    images, text = find_data(data), find_text(data)
    own = TEXT_RULES if text.record.kind == "text" else DATA_RULES
    return [
        result
        for rule in _listed(rules, own)
        for result in apply_rules([rule], text if rule in TEXT_RULES else images)
    ]


def results_by_name(name: str) -> tuple[str, list[Result]]:
    """Applies all rules to whatever carries a name: an optimizer, else a task, else a data set.

    Returns:
      ("optimizer", "task" or "data set", results).

    Raises:
      UnknownNameError: nothing does.
      BrokenPluginError: its implementation cannot be imported.
    """
    from celo import loading, registry
    from celo.errors import UnknownNameError
    from celo.spec import parse

    spec = parse(name)
    try:
        loading.find(spec)
    except UnknownNameError as unknown:
        if spec.hyperparameters or spec.weights or spec.modifiers:
            raise
        for kind, find, results in (
            ("task", registry.task, task_results),
            ("data set", registry.data_set, data_results),
        ):
            try:
                find(name)
            except UnknownNameError:
                continue
            return kind, results(name)
        raise unknown from None
    return "optimizer", optimizer_results(name)


def _listed(rules: Rules, default: tuple[Rule[Any], ...]) -> Iterable[Rule[Any]]:
    if rules is None:
        return default
    return (rules,) if isinstance(rules, Rule) else rules
