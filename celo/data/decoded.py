"""Sets decoded once: plain arrays in the cache, mapped into memory by whoever trains on them.

`decoded/NAME-KEY/` holds `{train,test}_{images,labels}.npy` and `about.json` with their
fingerprint. The key stands for the files a set was read from (names, sizes, times of change), so
changed files are read anew. A folder is put together under another name and renamed, so that any
number of processes may do so at once: the first one wins, and all read the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from celo.data import local
from celo.data.arrays import KEYS, Arrays, check
from celo.data.mapped import open_mapped, release
from celo.data.rows import PARTS, Rows, RowSource
from celo.errors import DataError
from celo.files import cache_dir, fsync_dir
from celo.records import DataSet

_SCHEMA = 1
_VERSION = 1  # raised when the same files decode to other arrays
_IN_MEMORY = 2**31  # bytes that may do without the cache, where it cannot be written
_SPARE = 64 * 2**20
_ABANDONED = 24 * 3600.0  # seconds after which nobody can still be writing
_ABOUT = "about.json"
_CHUNK = 2**24


@dataclass(frozen=True)
class Decoded:
    """The arrays of a set.

    Attributes:
      arrays: as `celo.data.local.read`; mapped from the cache, or in memory.
      fingerprint: sha256 over names, types, shapes and bytes of the arrays, in hexadecimal.
      folder: in the cache; None if it could not be written.
    """

    arrays: Arrays
    fingerprint: str
    folder: Path | None


def load(record: DataSet, location: local.Location, *, anew: bool = False) -> Decoded:
    """The arrays of a set, decoded now if no earlier run did.

    Args:
      record: the set.
      location: its files.
      anew: decode them in any case.

    Raises:
      DataError: they are damaged or not as the record declares, or there is no room for them.
    """
    folder = _folder(record, location)
    if anew:
        shutil.rmtree(folder, ignore_errors=True)
    elif (there := _read(folder)) is not None:
        return there
    rows = local.open_rows(record, location)
    needed = sum(len(rows[part].labels) for part in PARTS) * (_row_bytes(record) + 4)
    problem = _no_room(needed)
    if problem is None:
        try:
            _write(record, location, rows, folder)
        except OSError as error:
            problem = f"cannot be written: {error.strerror or error}"
        else:
            there = _read(folder)
            if there is not None:
                return there
            problem = "lost the file that was just written"
    if needed > _IN_MEMORY:
        raise DataError(
            f"data set {record.name} takes {needed / 1e9:.1f} GB when it is decoded, and the cache "
            f"{cache_dir()} {problem}",
            hint="free some space, or name another folder with CELO_CACHE_DIR",
        )
    arrays = local.read(record, location)
    return Decoded(arrays, fingerprint_of(arrays), None)


def fingerprint_of(arrays: Arrays) -> str:
    """sha256 over names, types, shapes and bytes of the arrays `KEYS`, in hexadecimal."""
    digest = hashlib.sha256()
    for name in KEYS:
        value = arrays[name]
        digest.update(f"{name} {value.dtype.str} {value.shape}\n".encode())
        step = max(1, _CHUNK // max(1, value[:1].nbytes))
        for start in range(0, len(value), step):
            digest.update(np.ascontiguousarray(value[start : start + step]).data)
            release(value)
    return digest.hexdigest()


@dataclass(frozen=True)
class Copy:
    """A decoded set in the cache."""

    name: str
    folder: Path
    bytes: int


def copies() -> list[Copy]:
    """Every decoded set in the cache."""
    found = []
    for about in sorted((cache_dir() / "decoded").glob(f"*/{_ABOUT}")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            name = json.loads(about.read_text("utf-8"))["name"]
            size = sum(path.stat().st_size for path in about.parent.iterdir())
            found.append(Copy(name, about.parent, size))
    return found


def remove(name: str) -> int:
    """Removes the decoded copies of a set; returns how many bytes that frees."""
    mine = [copy for copy in copies() if copy.name == name]
    for copy in mine:
        shutil.rmtree(copy.folder, ignore_errors=True)
    return sum(copy.bytes for copy in mine)


def _folder(record: DataSet, location: local.Location) -> Path:
    form = f"{_VERSION} {record.load} {record.image_shape} {record.largest_pixel} {record.resized}"
    key = hashlib.sha256(f"{form} {location.stat_key}".encode()).hexdigest()[:24]
    return cache_dir() / "decoded" / f"{record.name}-{key}"


def _read(folder: Path) -> Decoded | None:
    """What lies there if it is whole; what is not is made anew."""
    try:
        about = json.loads((folder / _ABOUT).read_text("utf-8"))
        if about["schema"] != _SCHEMA:
            return None
        arrays = {key: open_mapped(folder / f"{key}.npy") for key in KEYS}
        if {key: list(value.shape) for key, value in arrays.items()} != about["shapes"]:
            return None
        return Decoded(arrays, about["fingerprint"], folder)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _no_room(needed: int) -> str | None:
    root = cache_dir()
    base = next((path for path in (root, *root.parents) if path.is_dir()), Path("/"))
    free = shutil.disk_usage(base).free
    if free < needed + _SPARE:
        return f"has {free / 1e9:.1f} GB left"
    return None


def _write(record: DataSet, location: local.Location, rows: Rows, folder: Path) -> None:
    _sweep(folder.parent)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.parent / f".{record.name}.{secrets.token_hex(8)}.part"
    temporary.mkdir()
    try:
        for part in PARTS:
            _write_part(temporary, record, part, rows[part])
        arrays = {key: open_mapped(temporary / f"{key}.npy") for key in KEYS}
        check(record, arrays, str(location.path), record.largest_pixel)
        about = {
            "schema": _SCHEMA,
            "name": record.name,
            "location": str(location.path),
            "shapes": {key: list(value.shape) for key, value in arrays.items()},
            "fingerprint": fingerprint_of(arrays),
        }
        del arrays
        (temporary / _ABOUT).write_text(json.dumps(about, indent=2) + "\n", "utf-8")
        for path in temporary.iterdir():
            _fsync(path)
        _put(temporary, folder)
        _forget_older(folder, about)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_part(folder: Path, record: DataSet, part: str, source: RowSource) -> None:
    labels, shape = source.labels, record.image_shape
    order = source.order
    kept = labels if order is None else labels[order]
    np.save(folder / f"{part}_labels.npy", kept.astype(np.int32))
    # Written, not mapped: a full disk is an error then, where a mapped file would kill the process.
    with (folder / f"{part}_images.npy").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(labels), *shape)}
        np.lib.format.write_array_header_1_0(file, header)
        start, size, done = file.tell(), _row_bytes(record), 0
        places = None if order is None else np.argsort(order)
        for block in source.images():
            checked = _checked(record, part, block)
            if places is None:
                file.write(checked.data)
            else:
                for row, place in zip(checked, places[done : done + len(checked)], strict=True):
                    file.seek(start + int(place) * size)
                    file.write(row.data)
            done += len(checked)
    if done != len(labels):
        raise DataError(f"{part}: expected an image for each of {len(labels)} labels, found {done}")


def _checked(record: DataSet, part: str, block: np.ndarray) -> np.ndarray:
    height, width, channels = record.image_shape
    fits = block.shape[1:] in ([(height, width, channels)] + [(height, width)] * (channels == 1))
    if block.dtype != np.uint8 or not fits:
        expected = f"uint8 rows of shape {(height, width, channels)}"
        raise DataError(
            f"{record.name}: {part}_images: expected {expected}, found {block.dtype} {block.shape}"
        )
    return np.ascontiguousarray(block)


def _put(temporary: Path, folder: Path) -> None:
    if folder.exists() and _read(folder) is None:  # damaged
        aside = temporary.with_name(f"{temporary.name}.old")
        with contextlib.suppress(OSError):  # another process was faster
            os.rename(folder, aside)
        shutil.rmtree(aside, ignore_errors=True)
    with contextlib.suppress(OSError):  # another process has put the same arrays there
        os.rename(temporary, folder)
    fsync_dir(folder.parent)


def _forget_older(folder: Path, about: Mapping[str, object]) -> None:
    """Removes what the same files were decoded to before they changed."""
    for path in folder.parent.glob(f"*/{_ABOUT}"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            other = json.loads(path.read_text("utf-8"))
            same = all(other[key] == about[key] for key in ("name", "location"))
            if same and path.parent != folder:
                shutil.rmtree(path.parent, ignore_errors=True)


def _sweep(root: Path) -> None:
    """Removes what processes left behind that were killed while they wrote."""
    for left in root.glob(".*.part*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _ABANDONED:
                shutil.rmtree(left, ignore_errors=True)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _row_bytes(record: DataSet) -> int:
    return math.prod(record.image_shape)
