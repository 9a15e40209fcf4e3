"""Random rows are enough for a batch of every task, whatever the splits."""

from __future__ import annotations

import pytest

from celo import registry
from celo.data import DataSelection
from celo.protocol import SPLITS
from celo.records import TaskPlugin
from celo.tasks import build_task


def _hungriest() -> list[TaskPlugin]:
    """Of the tasks that share a data set and its form, the one with the largest batch."""
    found: dict[tuple[str, str], TaskPlugin] = {}
    for name in registry.suite("all").record.tasks:
        record = registry.task(name).record
        form = record.data_set, record.vocabulary
        if form not in found or found[form].batch_size < record.batch_size:
            found[form] = record
    return list(found.values())


@pytest.mark.parametrize("published", [False, True])
def test_every_task_can_be_run_on_random_rows(published: bool) -> None:
    selection = DataSelection(synthetic=True, published_splits=published)
    chosen = _hungriest()
    assert len(chosen) > 12 and max(record.batch_size for record in chosen) == 1024
    for record in chosen:
        task = build_task(record, selection)
        assert task.datasets is not None
        for split in SPLITS:
            table = task.datasets.table(split)  # a DataError where it fills no batch
            assert table.rows >= table.batch_size == record.batch_size


def test_only_real_rows_have_a_published_split() -> None:
    published = DataSelection.parse(None, published_splits=True)
    assert published.published_split("cifar100") and not published.published_split("cifar10")
    assert not DataSelection().published_split("cifar100")
    text = "cifar100=synthetic,svhn_cropped=cifar10"
    replaced = DataSelection.parse(text, published_splits=True)
    assert not replaced.published_split("CIFAR100") and replaced.published_split("svhn_cropped")
