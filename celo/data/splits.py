"""How the official rows of a set become train, inner_valid, outer_valid and test. No JAX."""

from __future__ import annotations

from typing import Literal, NamedTuple

from celo.records import canonical_name

# The published code computes min(1, 80 * fraction) for these where max was meant, so that its
# training split is the first 1 % of the rows (spec of the tasks, 0, quirk 1).
PUBLISHED_ONE_PERCENT = frozenset({"cifar100", "svhn-cropped", "food101"})


class RowRange(NamedTuple):
    """Rows [start, stop) of the official train or test rows."""

    part: Literal["train", "test"]
    start: int
    stop: int

    @property
    def rows(self) -> int:
        return self.stop - self.start


def has_published_split(set_name: str) -> bool:
    """Whether `published_splits` changes anything for this set."""
    return canonical_name(set_name) in PUBLISHED_ONE_PERCENT


def split_rows(
    set_name: str, train_rows: int, test_rows: int, *, published: bool = False
) -> dict[str, RowRange]:
    """The rows of every split.

    The train rows are cut 80/10/10 (at the nearest row) into train, inner_valid and outer_valid;
    test is test.

    Args:
      set_name: name of the data set.
      train_rows: official train rows that are there.
      test_rows: official test rows that are there.
      published: train is the first 1 % for the sets of `PUBLISHED_ONE_PERCENT`.
    """
    percent = 1 if published and has_published_split(set_name) else 80
    return {
        "train": RowRange("train", 0, _row(percent, train_rows)),
        "inner_valid": RowRange("train", _row(80, train_rows), _row(90, train_rows)),
        "outer_valid": RowRange("train", _row(90, train_rows), train_rows),
        "test": RowRange("test", 0, test_rows),
    }


def _row(percent: int, rows: int) -> int:
    return round(percent * rows / 100)
