"""The common form of a set: four named arrays in one `.npz` file, and what must hold for them."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

from celo.errors import DataError
from celo.records import DataSet

KEYS = ("train_images", "train_labels", "test_images", "test_labels")
Arrays = Mapping[str, np.ndarray]
T = TypeVar("T")

# What zipfile and numpy raise on files that are cut short, altered or something else altogether.
_DAMAGE = (
    *(OSError, EOFError, ValueError, KeyError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)


def read(path: Path) -> dict[str, np.ndarray]:
    """Reads the arrays `KEYS` of an `.npz` file; others are ignored.

    Raises:
      DataError: not such a file, damaged, or an array is missing.
    """
    return _of_each(path, _read_array)


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays of an `.npz` file, from their headers alone.

    Raises:
      DataError: as `read`, except for damage behind the headers.
    """
    return _of_each(path, _read_shape)


def read_one(path: Path, key: str) -> np.ndarray:
    """One array of an `.npz` file of another form.

    Raises:
      DataError: not such a file, damaged, or without this array.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_array(archive, key)
    except _DAMAGE as error:
        raise DataError(
            f"{path}: expected an .npz file with the array {key}, but it cannot be read: {error}",
            hint="it may be cut short; fetch or write it again",
        ) from error


def _of_each(path: Path, read: Callable[[zipfile.ZipFile, str], T]) -> dict[str, T]:
    try:
        # Not np.load: it leaves the file open when the archive is damaged.
        with zipfile.ZipFile(path) as archive:
            _require_keys(path, archive)
            return {key: read(archive, key) for key in KEYS}
    except _DAMAGE as error:
        raise _damaged(path, error) from error


def _read_array(archive: zipfile.ZipFile, key: str) -> np.ndarray:
    with archive.open(f"{key}.npy") as member:
        return np.lib.format.read_array(member, allow_pickle=False)


def _read_shape(archive: zipfile.ZipFile, key: str) -> tuple[int, ...]:
    with archive.open(f"{key}.npy") as member:
        version = np.lib.format.read_magic(member)
        if version == (1, 0):
            return np.lib.format.read_array_header_1_0(member)[0]
        return np.lib.format.read_array_header_2_0(member)[0]


def _require_keys(path: Path, archive: zipfile.ZipFile) -> None:
    found = [name.removesuffix(".npy") for name in archive.namelist()]
    if not set(KEYS) <= set(found):
        raise DataError(
            f"{path}: expected the arrays {', '.join(KEYS)}, found {', '.join(found) or 'none'}"
        )


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path}: expected an .npz file with {', '.join(KEYS)}, but it cannot be read: {error}",
        hint="it may be cut short; fetch or write it again",
    )


def check(record: DataSet, arrays: Arrays, where: str, largest_pixel: int = 255) -> None:
    """Holds decoded arrays against what the record declares.

    Fewer rows than the complete set are fine: it is labelled as partial elsewhere.

    Args:
      record: the set they should be.
      arrays: with the keys `KEYS`.
      where: named in messages.
      largest_pixel: upper end of the range of pixels.

    Raises:
      DataError: a shape, a type, a number of rows, a label or a pixel is not as declared.
    """
    height, width, channels = record.image_shape
    shapes = [(height, width, channels)] + ([(height, width)] if channels == 1 else [])
    for split, complete in (("train", record.train_rows), ("test", record.test_rows)):
        images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
        _expect(where, f"{split}_images", "uint8", images.dtype, images.dtype == np.uint8)
        rows = len(images) if images.ndim else 0
        _expect(
            where,
            f"{split}_images",
            f"rows of shape {shapes[-1]}",
            images.shape,
            images.shape[1:] in shapes,
        )
        _expect(where, f"{split}_images", f"1 to {complete} rows", rows, 1 <= rows <= complete)
        _expect(where, f"{split}_labels", "integers", labels.dtype, labels.dtype.kind in "ui")
        _expect(where, f"{split}_labels", f"shape ({rows},)", labels.shape, labels.shape == (rows,))
        low, high = int(labels.min()), int(labels.max())
        _expect(
            where,
            f"{split}_labels",
            f"0 to {record.num_classes - 1}",
            f"{low} to {high}",
            low >= 0 and high < record.num_classes,
        )
        if largest_pixel < np.iinfo(np.uint8).max:
            brightest = int(images.max())
            _expect(
                where,
                f"{split}_images",
                f"pixels up to {largest_pixel}",
                brightest,
                brightest <= largest_pixel,
            )
        if rows >= 20 * record.num_classes:  # a mixed part of this size misses no class
            classes = len(np.unique(labels))
            _expect(
                where,
                f"{split}_labels",
                f"{record.num_classes} classes",
                classes,
                classes == record.num_classes,
            )


def _expect(where: str, key: str, expected: object, found: object, holds: bool) -> None:
    if not holds:
        raise DataError(f"{where}: {key}: expected {expected}, found {found}")
