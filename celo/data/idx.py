"""IDX files, the original form of MNIST and Fashion-MNIST."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from celo.errors import DataError, DataMissingError

FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
_UNSIGNED_BYTE = 8


def load(folder: Path) -> dict[str, np.ndarray]:
    """The four arrays of a folder of IDX files.

    Args:
      folder: holds the files of `FILES`, each plain or compressed (`.gz`).

    Returns:
      train_images, test_images uint8 [N, H, W]; train_labels, test_labels uint8 [N].

    Raises:
      DataMissingError: the folder lacks one of the files.
      DataError: a file is damaged.
    """
    paths = {key: _find(folder, name) for key, name in FILES.items()}
    return {key: read(path, 3 if "images" in key else 1) for key, path in paths.items()}


def read(path: Path, axes: int) -> np.ndarray:
    """Reads one file of unsigned bytes with `axes` axes.

    Raises:
      DataError: not an IDX file, or shorter or longer than its header says.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            header = file.read(4 + 4 * axes)
            if len(header) < 4 + 4 * axes or header[:4] != bytes([0, 0, _UNSIGNED_BYTE, axes]):
                raise DataError(
                    f"{path}: expected an IDX file of unsigned bytes with {axes} axes, found one "
                    f"that starts with {header[:4].hex() or 'nothing'}"
                )
            shape = struct.unpack(f">{axes}I", header[4:])
            size = math.prod(shape)
            # One byte more than announced is enough to see that there is too much.
            data = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if len(data) != size:
        found = "more" if len(data) > size else str(len(data))
        raise DataError(f"{path}: expected {size} bytes behind the header, found {found}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _find(folder: Path, name: str) -> Path:
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    raise DataMissingError(
        f"{folder} has no {name} (nor {name}.gz)",
        hint="the four files are " + ", ".join(FILES.values()),
    )
