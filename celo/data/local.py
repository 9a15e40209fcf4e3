"""Finds and reads the files of a set: first in `CELO_DATA_DIR`, then in the cache. No JAX."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from celo import registry
from celo.data import arrays
from celo.errors import DataError
from celo.files import cache_dir
from celo.records import DataSet

ENVIRONMENT = "CELO_DATA_DIR"


@dataclass(frozen=True)
class Location:
    """Where the files of a set are.

    Attributes:
      path: an `.npz` file in the common form, or the folder of the original files.
    """

    path: Path

    @property
    def stat_key(self) -> str:
        """Identifies the files without reading them: names, sizes and times of change.

        Raises:
          DataError: they cannot be looked at.
        """
        try:
            files = sorted(self.path.iterdir()) if self.path.is_dir() else [self.path]
            stats = [(file, file.stat()) for file in files if file.is_file()]
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read: {error}") from error
        return "; ".join(f"{file} {stat.st_size} {stat.st_mtime_ns}" for file, stat in stats)


def data_folders() -> list[Path]:
    """The folders that are searched, in this order."""
    explicit = os.environ.get(ENVIRONMENT)
    own = [Path(explicit).expanduser()] if explicit else []
    return [*own, cache_dir() / "data"]


def locate(record: DataSet) -> Location | None:
    """The first place where files of the set are, or None."""
    for folder in data_folders():
        for candidate in _candidates(record, folder):
            if candidate.is_file() or (candidate.is_dir() and any(candidate.iterdir())):
                return Location(candidate)
    return None


def _candidates(record: DataSet, folder: Path) -> Iterator[Path]:
    yield folder / f"{record.name}.npz"
    yield from (folder / name for name in record.folders)


def missing(record: DataSet) -> tuple[str, str]:
    """What is missing and where to put which files: a message and a hint."""
    folders = data_folders()
    where = " and ".join(
        f"{folder}{'' if folder.is_dir() else ' (no folder)'}" for folder in folders
    )
    message = f"data set {record.name} is not on this machine; looked in {where}"
    shape = "x".join(map(str, record.image_shape))
    hint = (
        f"put {record.name}.npz (uint8 arrays train_images, test_images of {shape} pixels; "
        f"train_labels, test_labels) into {folders[0]}"
    )
    if record.folders:
        hint += f", or {record.files} into {folders[0] / record.folders[0]}"
    if not os.environ.get(ENVIRONMENT):
        hint += f"; the variable {ENVIRONMENT} names another folder"
    return message, hint


def read(record: DataSet, location: Location | None) -> dict[str, np.ndarray]:
    """The checked arrays of a set in one form, whatever the files' form is.

    Args:
      record: the set.
      location: its files; None for embedded sets.

    Returns:
      train_images, test_images uint8 [N, H, W, C]; train_labels, test_labels int32 [N]; all
      read-only.

    Raises:
      DataError: damaged, or not as the record declares.
    """
    if location is not None and location.path.is_file():
        found = arrays.read(location.path)
    else:
        found = registry.resolve(record.load)(location.path if location else None)
    where = str(location.path) if location else record.name
    arrays.check(record, found, where, record.largest_pixel)
    result = {}
    for key in arrays.KEYS:
        value = found[key]
        if key.endswith("images"):
            result[key] = np.ascontiguousarray(value).reshape(-1, *record.image_shape)
        else:
            result[key] = value.astype(np.int32)
        result[key].flags.writeable = False
    return result


def row_counts(location: Location) -> tuple[int, int] | None:
    """Train and test rows where the headers tell them; None where only reading does.

    Raises:
      DataError: the file is damaged.
    """
    if not location.path.is_file():
        return None
    shapes = arrays.read_shapes(location.path)
    if not all(shapes[key] for key in arrays.KEYS):
        raise DataError(f"{location.path}: expected arrays of rows, found a single number")
    return shapes["train_images"][0], shapes["test_images"][0]
