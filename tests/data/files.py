"""Small sets in the forms in which real ones come."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

from celo.data.idx import FILES
from celo.records import DataSet


def random_arrays(record: DataSet, train: int, test: int) -> dict[str, np.ndarray]:
    """Rows of the right shape, every class among them, as common form has them."""
    random = np.random.RandomState(7)
    shape = record.image_shape[:2] if record.image_shape[2] == 1 else record.image_shape
    arrays = {}
    for part, rows in (("train", train), ("test", test)):
        arrays[f"{part}_images"] = random.randint(0, 256, (rows, *shape)).astype(np.uint8)
        arrays[f"{part}_labels"] = (np.arange(rows) % record.num_classes).astype(np.uint8)
    return arrays


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]


def write_idx(folder: Path, arrays: dict[str, np.ndarray], compressed: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for key, name in FILES.items():
        array = arrays[key]
        header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
        content = header + array.tobytes()
        if compressed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content, 1))
        else:
            (folder / name).write_bytes(content)


def python2_batch(images: np.ndarray, labels: np.ndarray, labels_key: str = "labels") -> bytes:
    """A CIFAR batch as Python 2's cPickle wrote it: protocol 2, byte strings."""
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    numbers = b"".join(_int(int(label)) for label in labels)
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02"
        + b"K\x00\x85" + _str(b"b") + b"\x87Rq\x03"
        + b"(K\x01" + _int(planes.shape[0]) + _int(planes.shape[1]) + b"\x86"
        + b"cnumpy\ndtype\nq\x04" + _str(b"u1") + b"K\x00K\x01\x87Rq\x05"
        + b"(K\x03" + _str(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + b"\x89" + _str(planes.tobytes()) + b"tb"
    )  # fmt: skip
    return (
        b"\x80\x02}q\x00("
        + _str(b"batch_label") + _str(b"training batch 1 of 5")
        + _str(labels_key.encode()) + b"](" + numbers + b"e"
        + _str(b"data") + array
        + _str(b"filenames") + b"](" + _str(b"a.png") + _str(b"b.png") + b"e"
        + b"u."
    )  # fmt: skip


def _int(number: int) -> bytes:
    return b"K" + bytes([number]) if number < 256 else b"M" + struct.pack("<H", number)


def _str(text: bytes) -> bytes:
    if len(text) < 256:
        return b"U" + bytes([len(text)]) + text
    return b"T" + struct.pack("<i", len(text)) + text
