"""Parquet files as the Hugging Face hub keeps sets: images as PNG or JPEG in a column, or text.

Read block by block with pyarrow, so that a file need not fit into memory.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from celo.data import pictures
from celo.data.rows import RowSource, check_classes
from celo.errors import DataError
from celo.records import DataSet

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "fine_label")
TEXT_COLUMNS = ("text",)
_ROWS_AT_ONCE = 1024


def read_images(record: DataSet, files: Sequence[Path]) -> RowSource:
    """The rows of some files, one after the other; images are decoded when they are asked for.

    Args:
      record: the set.
      files: each with a column of images (`image` or `img`: a struct with `bytes`) and one of
        labels (`label` or `fine_label`).

    Raises:
      DataError: a file is damaged or lacks a column, or pyarrow is missing.
    """
    labels = []
    for path in files:
        with _opened(path) as file:
            image, label = (_column(path, file, c) for c in (IMAGE_COLUMNS, LABEL_COLUMNS))
            _check_names(record, path, file, label)
            for values in _blocks(path, file, [label]):
                labels.append(values.column(0).to_numpy(zero_copy_only=False))
    found = np.concatenate(labels) if labels else np.empty(0, np.int64)
    if found.dtype.kind not in "ui":  # missing values make them floats
        raise DataError(f"{files[0]}: expected a label in every row, found rows without one")
    return RowSource(found, lambda: pictures.decode(record, _encoded(files)))


def read_text(path: Path, part: str = "") -> Iterator[str]:
    """The documents of a file with a column `text`; empty ones are left out.

    Args:
      path: of the file.
      part: not used.

    Raises:
      DataError: the file is damaged or has no such column, or pyarrow is missing.
    """
    with _opened(path) as file:
        column = _column(path, file, TEXT_COLUMNS)
        for values in _blocks(path, file, [column]):
            for text in values.column(0).to_pylist():
                if text and (stripped := text.strip()):
                    yield stripped


def _encoded(files: Sequence[Path]) -> Iterator[pictures.Encoded]:
    for path in files:
        with _opened(path) as file:
            column, row = _column(path, file, IMAGE_COLUMNS), 0
            for values in _blocks(path, file, [column]):
                for value in values.column(0).to_pylist():
                    content = value.get("bytes") if isinstance(value, dict) else value
                    if not isinstance(content, bytes):
                        raise DataError(f"{path}: row {row} has no image")
                    yield f"{path}: row {row}", content
                    row += 1


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        from pyarrow import parquet
    except ImportError:
        raise DataError(
            "reading parquet files needs pyarrow, which is not installed",
            hint="pip install 'celo[data]'",
        ) from None
    with _damage_told(path):
        file = parquet.ParquetFile(path)
    with file:
        yield file


def _blocks(path: Path, file: Any, columns: list[str]) -> Iterator[Any]:
    with _damage_told(path):
        yield from file.iter_batches(_ROWS_AT_ONCE, columns=columns)


@contextlib.contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except DataError:
        raise
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise DataError(
            f"{path}: expected a parquet file, but it cannot be read: {error}",
            hint="it may be cut short; fetch it again",
        ) from error


def _column(path: Path, file: Any, wanted: tuple[str, ...]) -> str:
    there = file.schema_arrow.names
    for name in wanted:
        if name in there:
            return name
    raise DataError(f"{path}: expected a column {' or '.join(wanted)}, found {', '.join(there)}")


def _check_names(record: DataSet, path: Path, file: Any, label: str) -> None:
    """The names of the classes are in what `datasets` writes beside the columns, if anywhere."""
    with contextlib.suppress(KeyError, TypeError, ValueError):
        notes = json.loads((file.schema_arrow.metadata or {})[b"huggingface"])
        names = notes["info"]["features"][label]["names"]
        check_classes(record, len(names), str(path))
