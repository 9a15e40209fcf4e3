"""The conformance suite: for our optimizers, tasks and data sets, and for everybody's.

    from celo.testing import check_optimizer

    def test_lion():
        check_optimizer("lion")

`celo plugins check NAME` applies the same rules. What an optimizer cannot keep is declared on its
record with the reason, as `exceptions` or as `rounding`, and shown wherever it was needed.
Importing this package imports JAX.
"""

from celo.testing.checks import (
    OPTIMIZER_RULES,
    check_data,
    check_optimizer,
    check_task,
    data_results,
    optimizer_results,
    results_by_name,
    task_results,
)
from celo.testing.data_rules import DATA_RULES
from celo.testing.rules import ConformanceError, ConformanceWarning, Result, Rule
from celo.testing.task_rules import (
    ABSTRACT_TASK_RULES,
    COMPILED_TASK_RULES,
    TASK_RULES,
    smallest_of_each_family,
)
from celo.testing.text_rules import TEXT_RULES

__all__ = [
    "ABSTRACT_TASK_RULES",
    "COMPILED_TASK_RULES",
    "DATA_RULES",
    "OPTIMIZER_RULES",
    "TASK_RULES",
    "TEXT_RULES",
    "ConformanceError",
    "ConformanceWarning",
    "Result",
    "Rule",
    "check_data",
    "check_optimizer",
    "check_task",
    "data_results",
    "optimizer_results",
    "results_by_name",
    "smallest_of_each_family",
    "task_results",
]
