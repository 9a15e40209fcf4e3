"""The python batches of CIFAR-10 and CIFAR-100, read without unpickling (`celo.data.pickled`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from celo.data import pickled
from celo.errors import DataError, DataMissingError

_PIXELS = 3 * 32 * 32


def load_cifar10(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of `data_batch_1` to `data_batch_5` and `test_batch`.

    Some of the five may be missing: the set is partial then.

    Args:
      folder: holds the files.

    Returns:
      train_images, test_images uint8 [N, 32, 32, 3] (RGB); train_labels, test_labels uint8 [N].

    Raises:
      DataMissingError: no training batch or no test batch.
      DataError: a file is damaged.
    """
    train = [folder / f"data_batch_{i}" for i in range(1, 6)]
    present = [path for path in train if path.is_file()] or train[:1]
    return _load(present, folder / "test_batch", "labels")


def load_cifar100(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of `train` and `test`, with the 100 fine labels; see `load_cifar10`."""
    return _load([folder / "train"], folder / "test", "fine_labels")


def _load(train: list[Path], test: Path, labels: str) -> dict[str, np.ndarray]:
    batches = [_read(path, labels) for path in train]
    test_images, test_labels = _read(test, labels)
    return {
        "train_images": np.concatenate([images for images, _ in batches]),
        "train_labels": np.concatenate([values for _, values in batches]),
        "test_images": test_images,
        "test_labels": test_labels,
    }


def _read(path: Path, labels_key: str) -> tuple[np.ndarray, np.ndarray]:
    if not path.is_file():
        raise DataMissingError(f"{path.parent} has no {path.name}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    batch = pickled.read_dict(content, str(path))
    pixels, labels = batch.get("data"), batch.get(labels_key)
    if not (isinstance(pixels, np.ndarray) and pixels.ndim == 2 and pixels.shape[1] == _PIXELS):
        found = pixels.shape if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise DataError(f"{path}: data: expected shape [rows, {_PIXELS}], found {found}")
    if not (isinstance(labels, list) and all(type(n) is int and 0 <= n < 256 for n in labels)):
        raise DataError(f"{path}: {labels_key}: expected a list of labels, found something else")
    if len(labels) != len(pixels):
        raise DataError(f"{path}: expected a label a row, found {len(labels)} for {len(pixels)}")
    # A row is the red plane, the green one and the blue one.
    images = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), np.array(labels, np.uint8)
