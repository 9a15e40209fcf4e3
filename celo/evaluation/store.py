"""Results on disk: a run is a folder of cells.

    RUN/run.json                            what every cell of the run has in common
    RUN/identity.json                       which weights and data the names stand for
    RUN/cells/TASK/OPTIMIZER/seed0-DIGEST.npz   one finished cell: curves and one JSON member
    RUN/notes/NAME.json                     things that can be computed again (statistics, ...)

Every file is written whole or not at all, so a process killed at any instant loses at most the
block in hand; resuming is skipping the cells that are there, and merging two runs is copying
files. No server, no index, no locks. Neither JAX nor pandas is imported here.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import re
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from celo.errors import StoreError
from celo.evaluation.cells import SCHEMA, Cell, CellKey, Schedule
from celo.evaluation.identity import Identity
from celo.files import write_atomically

STATISTICS_NOTE = "statistics"
"""Statistics by content, so that a report repeats without computing."""
_STALE_AFTER_S = 24 * 3600


@dataclass(frozen=True)
class RunSettings:
    """What a run folder can hold only one of.

    Attributes:
      schedule: length and evaluation of every cell.
      published_splits: which rows are for training.
      data: "real", or how data sets were replaced (canonical text of `--data`).
    """

    schedule: Schedule
    published_splits: bool = False
    data: str = "real"

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self)}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> RunSettings:
        return RunSettings(
            schedule=Schedule(**value["schedule"]),
            published_splits=value["published_splits"],
            data=value["data"],
        )

    def differences(self, other: RunSettings) -> list[str]:
        """One `field: ours, theirs` line for each field that differs."""
        ours, theirs = _flat(self), _flat(other)
        return [f"{k}: {ours[k]} here, {theirs[k]} asked" for k in ours if ours[k] != theirs[k]]


@dataclass(frozen=True)
class Damaged:
    """A cell file that could not be read, and why."""

    path: Path
    reason: str


class Run:
    """A run folder, open for reading and writing."""

    def __init__(self, path: Path, settings: RunSettings):
        self.path = path
        self.settings = settings

    @staticmethod
    def create(path: Path, settings: RunSettings, not_publishable: Sequence[str] = ()) -> Run:
        """Opens the run in `path`, or starts one there.

        Args:
          path: the folder.
          settings: of the run.
          not_publishable: why its results must not be published; noted in a new run.json for its
            readers.

        Raises:
          StoreError: the folder holds a run of other settings, something else, or is unwritable.
        """
        if (path / "run.json").exists():
            run = Run.open(path)
            differences = run.settings.differences(settings)
            if differences:
                raise StoreError(
                    f"{path} holds a run that differs: {'; '.join(differences)}",
                    hint="choose another folder with --output, or --fresh to put that run aside "
                    "and start over",
                )
            return run
        if path.is_dir() and any(not p.name.startswith(".") for p in path.iterdir()):
            raise StoreError(
                f"{path} is not empty and holds no run (it has no run.json)",
                hint="choose another folder with --output",
            )
        marked = {**settings.to_json(), "not_publishable": list(not_publishable)}
        text = json.dumps(marked, indent=2)
        with _write_errors(path):
            write_atomically(path / "run.json", lambda file: file.write(text.encode()))
        return Run(path, settings)

    @staticmethod
    def open(path: Path) -> Run:
        """Opens an existing run.

        Raises:
          StoreError: there is no run, or it was written by a newer celo, or is damaged.
        """
        file = path / "run.json"
        try:
            value = json.loads(file.read_bytes())
            _check_schema(value, file)
            return Run(path, RunSettings.from_json(value))
        except FileNotFoundError:
            raise StoreError(
                f"{path} holds no run (it has no run.json)",
                hint="give the folder that `celo eval --output` wrote",
            ) from None
        except OSError as error:
            raise StoreError(f"{file} cannot be read: {_os_reason(error)}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{file} is damaged: {error}",
                hint="the cells beside it are safe; repeat the `celo eval` command with another "
                "--output and copy the folder `cells` there",
            ) from error

    def fix_identity(self, asked: Identity) -> None:
        """Fixes which weights and data the names of this run stand for; one run never mixes two.

        Raises:
          StoreError: a name already stands for something else here, or nothing can be written.
        """
        path, known = self.path / "identity.json", None
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            known = Identity.from_json(path.read_bytes())  # anything else is damage
        joined = (known or Identity({}, {})).joined(asked, self.path)
        if joined != known:
            text = joined.to_json()
            with _write_errors(self.path):
                write_atomically(path, lambda file: file.write(text.encode()))

    def cell_path(self, key: CellKey) -> Path:
        folder = self.path / "cells" / _safe(key.task) / _safe(key.entry)
        member = "" if key.optimizer == key.entry else _safe(key.optimizer)[-60:] + "-"
        return folder / f"{member}seed{key.seed}-{key.digest[:16]}.npz"

    def has(self, key: CellKey) -> bool:
        return self.cell_path(key).exists()

    def write(self, cell: Cell) -> None:
        """Writes a cell whole or not at all.

        Raises:
          StoreError: disk full, no permission, ...; says what is safe.
        """
        data = _encode(cell)
        with _write_errors(self.path):
            write_atomically(self.cell_path(cell.key), lambda file: file.write(data))

    def read(self, key: CellKey) -> Cell | None:
        """The cell of this key; None when it is missing or failed.

        A damaged file is set aside under another name, so that the cell is computed again.
        """
        path = self.cell_path(key)
        try:
            cell = read_cell(path)
        except FileNotFoundError:
            return None
        except Unreadable:
            set_aside(path)
            return None
        return cell if cell.key.digest == key.digest and cell.status != "failed" else None

    def cells(self) -> tuple[list[Cell], list[Damaged]]:
        """All readable cells in the order of their paths, and the files that are not.

        Raises:
          StoreError: a cell was written by a newer celo.
        """
        cells: list[Cell] = []
        damaged: list[Damaged] = []
        for path in sorted((self.path / "cells").glob("*/*/*.npz")):
            if path.name.startswith("."):
                continue
            try:
                cells.append(read_cell(path))
            except Unreadable as error:
                damaged.append(Damaged(path, str(error)))
        return cells, damaged

    def read_note(self, name: str) -> dict[str, Any]:
        """A small cache; {} when there is none or it is unreadable."""
        try:
            value = json.loads((self.path / "notes" / f"{name}.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def write_note(self, name: str, value: Mapping[str, Any]) -> None:
        """Keeps a small cache; failing to is no error, since it can be computed again."""
        text = json.dumps(value, sort_keys=True)
        with contextlib.suppress(OSError):
            write_atomically(
                self.path / "notes" / f"{name}.json", lambda file: file.write(text.encode())
            )

    def remove_torn_files(self) -> None:
        """Removes temporary files that a killed process left behind a day ago or earlier."""
        for path in self.path.rglob(".*.part"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _STALE_AFTER_S:
                    path.unlink()


def put_aside(path: Path) -> Path | None:
    """Renames a run folder out of the way, losing nothing; None when there is none."""
    if not path.exists():
        return None
    for number in range(1, 10_000):
        target = path.with_name(f"{path.name}.before-{number}")
        if not target.exists():
            with _write_errors(path):
                os.rename(path, target)
            return target
    raise StoreError(f"{path} has been put aside too often; remove some of {path}.before-*")


def set_aside(path: Path) -> Path:
    """Renames a damaged cell file to `*.damaged`."""
    target = path.with_name(path.name + ".damaged")
    # Another worker on the same folder may have been faster.
    with _write_errors(path), contextlib.suppress(FileNotFoundError):
        os.replace(path, target)
    return target


class Unreadable(Exception):
    """Why a cell file cannot be read, in one line."""


def read_cell(path: Path) -> Cell:
    """Reads one cell file.

    Raises:
      FileNotFoundError: it is not there.
      StoreError: it was written by a newer celo.
      Unreadable: it is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            # Reading every member whole makes zipfile check its checksum.
            members = {name: archive.read(name) for name in archive.namelist()}
        header = json.loads(members.pop("cell.json"))
        _check_schema(header, path)
        key = CellKey.from_json(header["key"])
        if header["digest"] != key.digest:
            raise Unreadable("its key and digest disagree")
        # zip checks what a member holds, not what it is called.
        if header["curves"] != {name: _sha256(data) for name, data in members.items()}:
            raise Unreadable("its curves are not those that were written")
        return Cell(
            key=key,
            status=header["status"],
            curves={name.removesuffix(".npy"): _array(data) for name, data in members.items()},
            hyperparameters=header["hyperparameters"],
            reason=header["reason"],
            step=header["step"],
            cost=header["cost"],
            provenance=header["provenance"],
        )
    except (FileNotFoundError, StoreError, Unreadable):
        raise
    except OSError as error:
        raise Unreadable(_os_reason(error)) from error
    except Exception as error:  # any byte of the file may be anything
        raise Unreadable(f"{type(error).__name__}: {error}") from error


def _encode(cell: Cell) -> bytes:
    members = {f"{name}.npy": _npy(values) for name, values in cell.curves.items()}
    header = {
        "schema": SCHEMA,
        "digest": cell.key.digest,
        "curves": {name: _sha256(data) for name, data in members.items()},
        "key": cell.key.to_json(),
        "status": cell.status,
        "hyperparameters": dict(cell.hyperparameters),
        "reason": cell.reason,
        "step": cell.step,
        "cost": dict(cell.cost),
        "provenance": dict(cell.provenance),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cell.json", json.dumps(header))
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values), allow_pickle=False)
    return buffer.getvalue()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _array(data: bytes) -> np.ndarray:
    return np.load(io.BytesIO(data), allow_pickle=False)


def _check_schema(value: Mapping[str, Any], path: Path) -> None:
    """Refuses what a newer celo wrote, by name; every schema from 1 on is read for ever."""
    schema = value["schema"]
    if type(schema) is not int or schema < 1:
        raise ValueError(f"schema {schema!r} was never written by any celo")
    if schema > SCHEMA:
        raise StoreError(
            f"{path} was written by a newer celo (schema {schema}, this one reads {SCHEMA})",
            hint="update celo",
        )


@contextlib.contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot write to {path}: {_os_reason(error)}",
            hint="every cell written before is safe; make room or choose another folder with "
            "--output, then repeat the command",
        ) from error


def _os_reason(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "the disk is full"
    return os.strerror(error.errno) if error.errno else str(error)


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._=,@+-]+", "_", text)[:100].lstrip(".") or "_"


def _flat(settings: RunSettings) -> dict[str, Any]:
    value = asdict(settings)
    return {**value.pop("schedule"), **value}
