"""Random rows in the shapes of a set, for whoever asks for them explicitly. No JAX."""

from __future__ import annotations

import zlib

import numpy as np

from celo.records import DataSet

VERSION = 2
"""Raised whenever the rows change; part of results' identity."""

# A tenth of the former is outer_valid: one batch of the largest that a task has, and no more.
TRAIN_ROWS, TEST_ROWS = 10_240, 1024
_DOCUMENTS = 32_768  # so that one percent fills a batch of any task


def generate(record: DataSet) -> dict[str, np.ndarray]:
    """Uniform pixels and labels, the same ones on every call.

    Returns:
      As `celo.data.local.read`, with 10,240 train rows and 1,024 test rows.
    """
    # RandomState, because numpy never changes its stream.
    random = np.random.RandomState(zlib.crc32(record.name.encode()))
    largest = record.largest_pixel
    result = {}
    for part, rows in (("train", TRAIN_ROWS), ("test", TEST_ROWS)):
        shape = (rows, *record.image_shape)
        result[f"{part}_images"] = random.randint(0, largest + 1, shape, dtype=np.uint8)
        result[f"{part}_labels"] = random.randint(0, record.num_classes, rows, dtype=np.int32)
    for value in result.values():
        value.flags.writeable = False
    return result


def tokens(record: DataSet, part: str, vocab_size: int, width: int) -> np.ndarray:
    """Uniform ids without padding, the same ones on every call.

    Args:
      record: the text set.
      part: "train", "valid" or "test".
      vocab_size: ids are below it.
      width: ids of a document.

    Returns:
      uint16 [32768, width], read-only; ids from 3 on.
    """
    random = np.random.RandomState(zlib.crc32(f"{record.name} {part} {vocab_size}".encode()))
    ids = random.randint(3, vocab_size, (_DOCUMENTS, width)).astype(np.uint16)
    ids.flags.writeable = False
    return ids
