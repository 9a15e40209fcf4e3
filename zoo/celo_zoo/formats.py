"""Reading and writing files of weights: safetensors (ours) and flax msgpack (the published ones).

The format is told by content, never by name. Nothing that could run code is read: a pickle, a
PyTorch file or a NumPy object archive is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from celo.errors import WeightsError, WeightsMissingError
from celo.files import write_atomically
from celo_zoo import msgpack_format
from celo_zoo.msgpack_format import FormatError
from celo_zoo.tree import Leaves, content_hash, little_endian, unflatten

MAX_FILE_BYTES = 256 * 2**20
"""Larger files are refused unread; the largest published one has 9.3 MB."""

METADATA_SCHEMA = 1
_MAX_HEADER_BYTES = 2**20
_METADATA_KEY = "celo"
_EXPECTED = "expected safetensors or flax msgpack"
_DTYPES = {
    "BOOL": "bool",
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
}
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive (PyTorch and NumPy write these; they may hold pickles)"),
    (b"\x93NUMPY", "a NumPy array file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "gzip"),
    (b"version https://git-lfs", "a git-lfs pointer, not the file it points to"),
    (b"<", "a web page"),
)


@dataclass(frozen=True, eq=False)
class WeightsFile:
    """What a file holds.

    Attributes:
      path: where it lies.
      format: "safetensors" or "msgpack".
      leaves: read-only arrays by path, sorted.
      metadata: what `encode_safetensors` was given; empty for other files.
      bytes: size of the file.
      sha256: of the file, hexadecimal.
    """

    path: Path
    format: str
    leaves: dict[str, np.ndarray]
    metadata: dict[str, Any]
    bytes: int
    sha256: str


def read_weights(path: str | os.PathLike[str]) -> WeightsFile:
    """Reads a file of weights.

    Raises:
      WeightsMissingError: there is no such file.
      WeightsError: it is not a file of weights, is damaged, or is of a kind that may run code.
    """
    path = Path(path)
    data = _read_bytes(path)
    kind = _sniff(path, data)
    try:
        metadata: dict[str, Any] = {}
        if kind == "safetensors":
            leaves, metadata = _read_safetensors(data)
        else:
            leaves = msgpack_format.decode(data)
        unflatten(leaves)  # the paths form a tree
    except (FormatError, WeightsError) as error:
        raise WeightsError(
            f"{path} is damaged or not a file of weights: {error} (read as {kind})"
        ) from error
    stated = metadata.get("content_hash")
    if stated is not None and stated != content_hash(leaves):
        raise WeightsError(
            f"{path} is damaged: expected content hash {stated} (its own metadata), "
            f"found {content_hash(leaves)}"
        )
    return WeightsFile(path, kind, leaves, metadata, len(data), hashlib.sha256(data).hexdigest())


def encode_safetensors(leaves: Leaves, metadata: Mapping[str, Any] | None = None) -> bytes:
    """The bytes of a safetensors file; equal input gives equal bytes.

    Args:
      leaves: arrays by path (`celo_zoo.flatten`).
      metadata: what JSON can hold, kept beside the arrays; the content hash is added.

    Raises:
      WeightsError: a path or dtype cannot be written.
    """
    from safetensors.numpy import save

    unflatten(leaves)
    for name, leaf in leaves.items():
        if leaf.dtype.name not in msgpack_format.DTYPES:
            raise WeightsError(f"cannot write {name}: its dtype is {leaf.dtype.name}")
    full = {**(metadata or {}), "schema": METADATA_SCHEMA, "content_hash": content_hash(leaves)}
    # One entry only: safetensors writes several in arbitrary order.
    header = {_METADATA_KEY: json.dumps(full, sort_keys=True)}
    return save({name: little_endian(leaf) for name, leaf in leaves.items()}, metadata=header)


def write_safetensors(
    path: str | os.PathLike[str], leaves: Leaves, metadata: Mapping[str, Any] | None = None
) -> None:
    """Writes `encode_safetensors(leaves, metadata)` to `path`, whole or not at all.

    Raises:
      WeightsError: a path or dtype cannot be written.
      OSError: the disk is full, read-only, ...
    """
    data = encode_safetensors(leaves, metadata)
    write_atomically(Path(path), lambda file: file.write(data))


def _read_bytes(path: Path) -> bytes:
    try:
        # Asked before opening: opening a pipe would wait for its writer.
        if not stat.S_ISREG(path.stat().st_mode):
            raise WeightsError(f"{path} is not a regular file, {_EXPECTED}")
        with path.open("rb") as file:
            # The limit holds for what is read, whatever the file's size claims or becomes; Python
            # sets aside as much memory as is asked for, so no more is than seems to be there.
            data = file.read(min(os.fstat(file.fileno()).st_size, MAX_FILE_BYTES) + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise WeightsMissingError(f"there is no file of weights at {path}") from error
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    if len(data) > MAX_FILE_BYTES:
        limit = MAX_FILE_BYTES // 2**20
        raise WeightsError(f"{path} is larger than {limit} MiB, the most a file of weights may be")
    if not data:
        raise WeightsError(f"{path} is empty, {_EXPECTED}")
    return data


def _sniff(path: Path, data: bytes) -> str:
    # Before the pickles: a header of 640 bytes starts like protocol 2.
    if data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= _MAX_HEADER_BYTES:
        return "safetensors"
    if _is_pickle(data):
        raise WeightsError(
            f"{path} is a pickle, which can run code when it is loaded; {_EXPECTED}",
            hint="convert it where you trust it, for example with celo_zoo.write_safetensors",
        )
    for magic, what in _FOREIGN:
        if data.startswith(magic):
            raise WeightsError(f"{path} is {what}; {_EXPECTED}")
    if 0x80 <= data[0] <= 0x8F or data[0] in (0xDE, 0xDF):
        return "msgpack"
    raise WeightsError(f"{path} is of an unknown format; {_EXPECTED}")


def _is_pickle(data: bytes) -> bool:
    # Protocols 2 to 5 start with their number; 0 and 1 (text) are told by opcodes at both ends.
    if data[0] == 0x80 and len(data) > 1 and 2 <= data[1] <= 5:
        return True
    return data[:1] in b"(]}cilpSIVFGKMJLN" and data.rstrip(b"\n").endswith(b".")


def _read_safetensors(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    import safetensors

    metadata = _safetensors_metadata(data)
    try:
        entries = safetensors.deserialize(data)
    except (safetensors.SafetensorError, ValueError) as error:
        raise FormatError(str(error)) from error
    leaves = {}
    for name, entry in entries:
        dtype = _DTYPES.get(entry["dtype"])
        if dtype is None:
            raise FormatError(f"{name} has the dtype {entry['dtype']}")
        kind = np.dtype(dtype).newbyteorder("<")
        leaves[name] = np.frombuffer(bytes(entry["data"]), dtype=kind).reshape(entry["shape"])
    if not leaves:
        raise FormatError("there is no array in it")
    return {name: leaves[name] for name in sorted(leaves)}, metadata


def _safetensors_metadata(data: bytes) -> dict[str, Any]:
    size = int.from_bytes(data[:8], "little")
    if size > len(data) - 8:
        raise FormatError(f"its header is said to have {size} bytes")
    try:
        header = json.loads(data[8 : 8 + size], object_pairs_hook=_without_duplicates)
        metadata = header.get("__metadata__", {}).get(_METADATA_KEY)
        metadata = json.loads(metadata) if metadata is not None else {}
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise FormatError(f"its header is not valid: {error}") from error
    if not isinstance(metadata, dict):
        raise FormatError("its metadata are not an object")
    if metadata.get("schema", METADATA_SCHEMA) != METADATA_SCHEMA:
        raise FormatError(
            f"its schema is {metadata['schema']!r}, this version reads {METADATA_SCHEMA}"
        )
    return metadata


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    node = dict(pairs)
    if len(node) != len(pairs):
        raise ValueError("a name occurs twice")
    return node
