"""Rows of a set as its files yield them: labels at once, images block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from celo.data.arrays import Arrays, check
from celo.errors import DataError
from celo.records import DataSet

PARTS = ("train", "test")


@dataclass(frozen=True)
class RowSource:
    """The rows of one part of a set.

    Attributes:
      labels: integers [N].
      images: called to read them: blocks of uint8 [n, H, W(, C)], N rows together, in the order of
        the labels.
      by_class: the rows may come class by class; such ones are mixed.
    """

    labels: np.ndarray
    images: Callable[[], Iterator[np.ndarray]]
    by_class: bool = True

    @property
    def order(self) -> np.ndarray | None:
        """Which row comes at each place, int64 [N]; None for the order of the files."""
        return mixing_order(self.labels) if self.by_class else None


Rows = Mapping[str, RowSource]
"""By part: "train", "test"."""


def of_arrays(record: DataSet, arrays: Arrays, where: str) -> dict[str, RowSource]:
    """The rows of arrays that are in memory, in their order.

    Raises:
      DataError: they are not as the record declares.
    """
    check(record, arrays, where, record.largest_pixel)

    def source(part: str) -> RowSource:
        images = arrays[f"{part}_images"]
        return RowSource(arrays[f"{part}_labels"], lambda: iter([images]), by_class=False)

    return {part: source(part) for part in PARTS}


def mixing_order(labels: np.ndarray) -> np.ndarray | None:
    """A fixed permutation for rows that come class by class; None for rows that are mixed.

    The first 80 % of rows are for training: without mixing, they would lack the last classes.

    Returns:
      int64 [N]: which row comes at each place.
    """
    rows, classes = len(labels), len(np.unique(labels))
    if rows < 2 or classes < 2:
        return None
    changes = np.count_nonzero(labels[1:] != labels[:-1])
    expected = (rows - 1) * (1 - 1 / classes)
    # RandomState, because numpy never changes its stream.
    return np.random.RandomState(0).permutation(rows) if changes < expected / 2 else None


def check_classes(record: DataSet, classes: int, where: str) -> None:
    """Holds the number of classes that files declare against the record.

    Raises:
      DataError: it is another one.
    """
    if classes != record.num_classes:
        raise DataError(
            f"{where}: expected {record.num_classes} classes, found {classes}",
            hint=f"is this {record.name}?",
        )
