"""Every rule about data sets: everything registered keeps it, a broken twin does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from celo import registry
from celo.data import synthetic
from celo.records import DataSet
from celo.testing import DATA_RULES, Rule, check_data, data_results
from celo.testing.data_rules import DataSubject

RECORD = DataSet(
    name="tiny",
    summary="random pixels",
    load="nowhere:load",
    kind="image",
    train_rows=synthetic.TRAIN_ROWS,
    test_rows=synthetic.TEST_ROWS,
    image_shape=(2, 2, 1),
    num_classes=3,
    licence="none",
)
NAMES = [found.record.name for found in registry.data_sets()]


@pytest.mark.parametrize("name", NAMES)
def test_registered_data_sets_keep_every_rule(name: str) -> None:
    results = check_data(name)
    embedded = registry.data_set(name).record.embedded
    for result in results:
        assert result.status == ("ok" if embedded else "skipped")
        assert embedded or "is not on this machine" in result.message


def _subject(change: Callable[[dict[str, Any]], Any] = lambda arrays: None) -> DataSubject:
    def read() -> dict[str, Any]:
        arrays = dict(synthetic.generate(RECORD))
        change(arrays)
        return arrays

    return DataSubject(RECORD, read)


def _another_one() -> DataSubject:
    random = np.random.RandomState(0)

    def change(arrays: dict[str, Any]) -> None:
        arrays["test_labels"] = random.permutation(arrays["test_labels"])

    return _subject(change)


# rule -> [(the twin, the array its message must name)]
TWINS: dict[str, list[tuple[DataSubject, str]]] = {
    "shapes": [
        (_subject(lambda a: a.update(train_images=a["train_images"][..., 0])), "'train_images'"),
        (_subject(lambda a: a.update(test_labels=a["test_labels"][1:])), "'test_labels'"),
        (_subject(lambda a: a.pop("test_images")), "'test_images'"),
    ],
    "dtypes": [(_subject(lambda a: a.update(test_images=a["test_images"] / 255)), "'test_images'")],
    "values": [
        (_subject(lambda a: a.update(train_labels=a["train_labels"] + 1)), "'train_labels'"),
    ],
    "fingerprint": [(_another_one(), "'test_labels'")],
}


def test_a_good_set_keeps_every_rule() -> None:
    assert {result.status for result in data_results(_subject())} == {"ok"}


@pytest.mark.parametrize("rule", DATA_RULES)
def test_broken_twins_fail(rule: Rule) -> None:
    for subject, key in TWINS[rule.name]:
        (result,) = data_results(dataclasses.replace(subject), rule)
        assert result.status == "failed"
        assert key in result.message


def test_every_rule_has_a_broken_twin() -> None:
    assert set(TWINS) == {rule.name for rule in DATA_RULES}
