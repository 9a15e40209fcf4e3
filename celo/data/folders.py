"""Folders of image files, one subfolder a class: `train/CLASS/*.png`, `test/CLASS/*.png`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from celo.data import pictures
from celo.data.rows import RowSource, check_classes
from celo.errors import DataError
from celo.records import DataSet


def has_classes(folder: Path) -> bool:
    """Whether a folder holds subfolders with images."""
    return any(
        any(path.suffix.lower() in pictures.SUFFIXES for path in sub.iterdir())
        for sub in folder.iterdir()
        if sub.is_dir()
    )


def read_images(record: DataSet, parts: Mapping[str, Sequence[Path]]) -> dict[str, RowSource]:
    """The rows of every part; labels count the names of the classes in alphabetical order.

    Args:
      record: the set.
      parts: "train" and "test": folders of classes.

    Raises:
      DataError: the number of classes is not the set's, or a part has other classes than `train`.
    """
    names = _classes(parts["train"])
    check_classes(record, len(names), str(parts["train"][0]))
    strange = sorted(set(_classes(parts["test"])) - set(names))
    if strange:
        raise DataError(
            f"{parts['test'][0]}: expected the classes of {parts['train'][0]}, found "
            f"{', '.join(strange[:3])} beside them"
        )
    return {part: _rows(record, roots, names) for part, roots in parts.items()}


def _classes(roots: Sequence[Path]) -> list[str]:
    found = {sub.name for root in roots for sub in root.iterdir() if sub.is_dir()}
    return sorted(name for name in found if not name.startswith("."))


def _rows(record: DataSet, roots: Sequence[Path], names: list[str]) -> RowSource:
    labelled = [
        (path, label)
        for label, name in enumerate(names)
        for root in roots
        for path in sorted((root / name).glob("*"))
        if path.suffix.lower() in pictures.SUFFIXES
    ]
    labels = np.array([label for _, label in labelled], np.int64)
    images = [(str(path), path) for path, _ in labelled]
    return RowSource(labels, lambda: pictures.decode(record, images))
