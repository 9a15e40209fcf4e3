from __future__ import annotations

import pytest

from celo.data.splits import RowRange, split_rows
from celo.protocol import SPLITS


@pytest.mark.parametrize("rows", [60_000, 50_000, 1438, 20_003, 11])
def test_the_train_rows_are_cut_80_10_10(rows: int) -> None:
    splits = split_rows("mnist", rows, 77)
    assert tuple(splits) == SPLITS
    train, inner, outer, test = splits.values()
    assert (train.start, train.stop, inner.stop, outer.stop) == (0, inner.start, outer.start, rows)
    assert abs(train.rows - 0.8 * rows) <= 0.5
    assert abs(inner.rows - 0.1 * rows) <= 1
    assert abs(outer.rows - 0.1 * rows) <= 1
    assert {train.part, inner.part, outer.part} == {"train"}
    assert test == RowRange("test", 0, 77)


@pytest.mark.parametrize(
    ("name", "rows", "train"),
    [("cifar100", 50_000, 500), ("svhn_cropped", 73_257, 733), ("cifar10", 50_000, 40_000)],
)
def test_published_splits_train_on_the_first_percent_of_some_sets(
    name: str, rows: int, train: int
) -> None:
    published = split_rows(name, rows, 1000, published=True)
    assert published["train"] == RowRange("train", 0, train)
    ours = split_rows(name, rows, 1000)
    assert ours["train"].rows == round(0.8 * rows)
    assert {n: published[n] for n in SPLITS[1:]} == {n: ours[n] for n in SPLITS[1:]}
