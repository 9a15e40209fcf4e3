"""States of a run on disk: whole or not at all, hash-checked, the last two kept.

    RUN/checkpoints/ITERATION.npz    all leaves of the state and one JSON member

The arrays are those of `celo.metatrain.program.OuterState` in flattening order.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from celo.errors import StoreError
from celo.files import write_atomically

SCHEMA = 1
KEPT = 2
_FOLDER = "checkpoints"
_HEADER = "checkpoint.json"


@dataclass(frozen=True)
class Checkpoint:
    """A state and what goes with it.

    Attributes:
      leaves: of the state, in flattening order.
      iteration: outer iterations done.
      facts: further values, as JSON.
    """

    leaves: Sequence[np.ndarray]
    iteration: int
    facts: Mapping[str, Any]


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint, then removes all but the last two.

    Raises:
      StoreError: disk full, no permission, ...; the checkpoints before it are untouched.
    """
    data = _encode(checkpoint)
    path = folder / _FOLDER / f"{checkpoint.iteration:09d}.npz"
    with write_errors(folder):
        write_atomically(path, lambda file: file.write(data))
    for old in _paths(folder)[KEPT:]:
        with contextlib.suppress(OSError):
            old.unlink()


def read_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole, and what was wrong with newer ones.

    Raises:
      StoreError: the newest was written by a newer celo, or there are some and all are damaged.
    """
    complaints = []
    paths = _paths(folder)
    for path in paths:
        try:
            return _decode(path), complaints
        except StoreError:
            raise
        except Exception as error:  # any byte of the file may be anything
            complaints.append(f"{path} is damaged ({type(error).__name__}: {error})")
    if paths:
        raise StoreError(
            f"no checkpoint of {folder} is whole: {'; '.join(complaints)}",
            hint="start over in another folder with --output",
        )
    return None, []


def _paths(folder: Path) -> list[Path]:
    """Checkpoint files, newest first."""
    files = (p for p in (folder / _FOLDER).glob("*.npz") if p.stem.isdigit())
    return sorted(files, key=lambda p: int(p.stem), reverse=True)


def _encode(checkpoint: Checkpoint) -> bytes:
    members = {f"{i:05d}.npy": _npy(leaf) for i, leaf in enumerate(checkpoint.leaves)}
    header = {
        "schema": SCHEMA,
        "iteration": checkpoint.iteration,
        "facts": dict(checkpoint.facts),
        "arrays": {name: hashlib.sha256(data).hexdigest() for name, data in members.items()},
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(_HEADER, json.dumps(header))
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _decode(path: Path) -> Checkpoint:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    header = json.loads(members.pop(_HEADER))
    if header["schema"] > SCHEMA:
        raise StoreError(
            f"{path} was written by a newer celo (schema {header['schema']}, this one reads "
            f"{SCHEMA})",
            hint="update celo",
        )
    if header["arrays"] != {name: hashlib.sha256(d).hexdigest() for name, d in members.items()}:
        raise ValueError("its arrays are not those that were written")
    leaves = [np.load(io.BytesIO(members[n]), allow_pickle=False) for n in sorted(members)]
    return Checkpoint(leaves, header["iteration"], header["facts"])


def _npy(leaf: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, leaf, allow_pickle=False)
    return buffer.getvalue()


@contextlib.contextmanager
def write_errors(folder: Path) -> Iterator[None]:
    """Says what is safe when a file cannot be written.

    Raises:
      StoreError: instead of OSError.
    """
    try:
        yield
    except OSError as error:
        full = error.errno == errno.ENOSPC
        reason = "the disk is full" if full else os.strerror(error.errno or 0)
        raise StoreError(
            f"cannot write to {folder}: {reason}",
            hint="the last checkpoint is safe; make room and repeat the command",
        ) from error
