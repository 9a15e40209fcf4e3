from __future__ import annotations

import pytest

from celo import registry
from celo.tasks.suites import SUITES, read_suite


def test_suites_name_registered_tasks() -> None:
    assert [suite.name for suite in SUITES] == ["quickstart", "mlp-mini"]
    for suite in SUITES:
        for name in suite.tasks:
            assert registry.task(name).record.name == name
        assert suite.provenance and suite.summary


def test_quickstart_needs_no_files() -> None:
    suite = registry.suite("quickstart").record
    assert suite.steps == 200
    tasks = [registry.task(name).record for name in suite.tasks]
    assert len(tasks) == 4
    assert all(registry.data_set(task.data_set).record.embedded for task in tasks)


def test_mlp_mini_is_small_and_easy_to_get() -> None:
    suite = registry.suite("mlp-mini").record
    tasks = [registry.task(name).record for name in suite.tasks]
    assert {task.family for task in tasks} == {"MLP classifier", "MLP autoencoder"}
    assert {task.data_set for task in tasks} == {"mnist", "fashion_mnist", "cifar10"}
    assert suite.steps == 2000


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('name = "a"\nsummary = ""\nsteps = 1\ntasks = ["x", "x"]', ValueError),
        ('name = "a"\nsummary = ""\nsteps = 1\ntasks = []', ValueError),
        ('name = "a"\nsummary = ""\ntasks = ["x"]', TypeError),
        ('name = "a"\nsummary = ""\nsteps = 1\ntasks = ["x"]\nstep = 2', TypeError),
        ("name = a", ValueError),
    ],
)
def test_wrong_files_are_refused(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        read_suite(text)
