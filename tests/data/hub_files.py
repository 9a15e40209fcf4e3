"""Small sets as the Hugging Face hub keeps them: parquet files with PNGs, or with text."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from celo.data.hub_sources import hub_source
from celo.records import DataSet


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(out, "PNG")
    return out.getvalue()


def images_parquet(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    columns: tuple[str, str] = ("image", "label"),
    classes: int | None = None,
    encoded: dict[int, bytes] | None = None,
) -> bytes:
    """A file as `datasets` writes it.

    Args:
      images: uint8 [N, H, W(, C)].
      labels: integers [N].
      columns: names of the columns.
      classes: how many names of classes its notes hold; None for no notes.
      encoded: other bytes for some rows.
    """
    other = encoded or {}
    values = [
        {"bytes": other.get(i, None) or png(pixels), "path": None}
        for i, pixels in enumerate(images)
    ]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({columns[0]: pa.array(values, kind), columns[1]: pa.array(labels, pa.int64())})
    if classes is not None:
        names = [f"class {i}" for i in range(classes)]
        notes = {"info": {"features": {columns[1]: {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(notes)})
    out = io.BytesIO()
    pq.write_table(table, out, row_group_size=100)
    return out.getvalue()


def text_parquet(documents: Sequence[str]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"text": pa.array(documents, pa.string())}), out)
    return out.getvalue()


def repository_of(record: DataSet, arrays: dict[str, np.ndarray], shards: int = 2) -> dict:
    """The files of a dataset repository for a set, its train rows in several files."""
    source = hub_source(record)
    assert source is not None
    files: dict[str, bytes] = {"README.md": b"# a set\n"}
    columns = ("img" if "cifar" in record.name else "image", "label")
    for part, pattern in source.files:
        count = shards if part == "train" else 1
        pieces = zip(
            np.array_split(arrays[f"{part}_images"], count),
            np.array_split(arrays[f"{part}_labels"], count),
            strict=True,
        )
        for number, (images, labels) in enumerate(pieces):
            name = pattern.replace("*", f"{number:05d}-of-{count:05d}")
            data = images_parquet(images, labels, columns=columns, classes=record.num_classes)
            files[name] = data
    return files
