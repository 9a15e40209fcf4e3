"""Downsampled ImageNet as its authors distribute it: `.npz` batches of flat rows.

`train_data_batch_1.npz`, ... and `val_data.npz`, each with `data` uint8 [N, 3 * S * S] (the red
plane, the green one, the blue one) and `labels` from 1 to 1000 (Chrabaszcz, Loshchilov and Hutter,
2017). The validation rows are the test rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from celo.data import arrays
from celo.data.rows import RowSource
from celo.errors import DataError, DataMissingError
from celo.records import DataSet


def batches_in(folder: Path) -> dict[str, list[Path]] | None:
    """The files of both parts, or None where there are none of this form."""
    train = sorted(folder.glob("train_data*.npz"), key=lambda path: (len(path.name), path.name))
    test = sorted(folder.glob("val_data*.npz"))
    if train and not test:
        raise DataMissingError(f"{folder} has {train[0].name}, but no val_data.npz")
    return {"train": train, "test": test} if train else None


def read_images(record: DataSet, files: Sequence[Path]) -> RowSource:
    """The rows of some batches, one after the other; one batch is in memory at a time.

    Raises:
      DataError: a file is damaged, or not of this form.
    """
    labels = np.concatenate([_read(path, "labels", 1) for path in files]).astype(np.int64) - 1
    return RowSource(labels, lambda: _images(record, files))


def _images(record: DataSet, files: Sequence[Path]) -> Iterator[np.ndarray]:
    height, width, channels = record.image_shape
    for path in files:
        flat = _read(path, "data", 2)
        if flat.dtype != np.uint8 or flat.shape[1] != height * width * channels:
            raise DataError(
                f"{path}: data: expected uint8 rows of {height * width * channels}, found "
                f"{flat.dtype} {flat.shape}",
                hint=f"{record.name} wants images of {height}x{width} pixels",
            )
        yield flat.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)


def _read(path: Path, key: str, axes: int) -> np.ndarray:
    array = arrays.read_one(path, key)
    if array.ndim != axes:
        raise DataError(f"{path}: {key}: expected {axes} axes, found {array.ndim}")
    return array
