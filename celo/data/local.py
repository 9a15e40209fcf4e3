"""Finds and reads the files of a set: first in `CELO_DATA_DIR`, then in the cache. No JAX."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from celo import registry
from celo.data import arrays, downsampled, folders, parquet, rows
from celo.data.hub_sources import hub_source
from celo.data.parts import part_of, train_and_test
from celo.errors import DataError, DataMissingError
from celo.files import cache_dir
from celo.records import DataSet

ENVIRONMENT = "CELO_DATA_DIR"
ONLY_COMMON_FORMS = "celo.data.arrays:read"
"""`load` of sets that come in no form of their own."""
_FEW_FILES = 20


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
            files = _files_in(self.path) if self.path.is_dir() else [self.path]
            stats = [(file, file.stat()) for file in files if file.is_file()]
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read: {error}") from error
        told = "; ".join(f"{file} {stat.st_size} {stat.st_mtime_ns}" for file, stat in stats)
        if len(stats) <= _FEW_FILES:
            return told
        return f"{self.path}: {len(stats)} files {hashlib.sha256(told.encode()).hexdigest()}"


def _files_in(folder: Path) -> list[Path]:
    # Not rglob from the top: it says nothing about a folder that cannot be listed.
    inside = list(folder.iterdir())
    return sorted([*inside, *(path for sub in inside if sub.is_dir() for path in sub.rglob("*"))])


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
    yield from (folder / name for name in dict.fromkeys((*record.folders, record.name)))


def missing(record: DataSet) -> tuple[str, str]:
    """What is missing and where to put which files: a message and a hint."""
    places = data_folders()
    where = " and ".join(
        f"{folder}{'' if folder.is_dir() else ' (no folder)'}" for folder in places
    )
    message = f"data set {record.name} is not on this machine; looked in {where}"
    shape = "x".join(map(str, record.image_shape))
    hint = (
        f"put {record.name}.npz (uint8 arrays train_images, test_images of {shape} pixels; "
        f"train_labels, test_labels) into {places[0]}"
    )
    own = places[0] / (record.folders[0] if record.folders else record.name)
    if record.files:
        hint += f", or {record.files} into {own}"
    hint += f", or parquet files or train/CLASS/*.png and test/CLASS/*.png into {own}"
    if hub_source(record):
        hint = f"`celo data pull {record.name}` fetches it; or {hint}"
    if not os.environ.get(ENVIRONMENT):
        hint += f"; the variable {ENVIRONMENT} names another folder"
    return message, hint


def read(record: DataSet, location: Location | None) -> dict[str, np.ndarray]:
    """The checked arrays of a set in one form, in memory, whatever the files' form is.

    Args:
      record: the set.
      location: its files; None for embedded sets.

    Returns:
      train_images, test_images uint8 [N, H, W, C]; train_labels, test_labels int32 [N]; all
      read-only.

    Raises:
      DataError: damaged, or not as the record declares.
    """
    found = {}
    for part, source in open_rows(record, location).items():
        images, order = np.concatenate(list(source.images())), source.order
        found[f"{part}_images"] = images if order is None else images[order]
        found[f"{part}_labels"] = source.labels if order is None else source.labels[order]
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


def open_rows(record: DataSet, location: Location | None) -> rows.Rows:
    """The rows of a set, in whichever form its files have; most are not read yet.

    Forms: an `.npz` file; a folder of parquet files, of images by class, of the batches of
    downsampled ImageNet, or of what the set's own `load` reads.

    Raises:
      DataMissingError: the folder lacks a file.
      DataError: damaged, or not as the record declares.
    """
    if location is None:
        return rows.of_arrays(record, registry.resolve(record.load)(None), record.name)
    folder, where = location.path, str(location.path)
    if folder.is_file():
        return rows.of_arrays(record, arrays.read(folder), where)
    if parts := train_and_test(folder, sorted(folder.rglob("*.parquet"))):
        return {part: parquet.read_images(record, files) for part, files in parts.items()}
    classes = [sub for sub in sorted(folder.iterdir()) if sub.is_dir() and part_of(sub.name)]
    if parts := train_and_test(folder, filter(folders.has_classes, classes)):
        return folders.read_images(record, parts)
    if parts := downsampled.batches_in(folder):
        return {part: downsampled.read_images(record, files) for part, files in parts.items()}
    if record.load == ONLY_COMMON_FORMS:
        raise DataMissingError(
            f"{folder} holds no form of {record.name} that celo reads",
            hint=missing(record)[1],
        )
    return rows.of_arrays(record, registry.resolve(record.load)(folder), where)


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
