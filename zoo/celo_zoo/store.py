"""Our cache: one folder an entry, with `theta.safetensors` and the record of its origin."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from celo.errors import WeightsError, WeightsMissingError
from celo.files import write_atomically
from celo_zoo import tree
from celo_zoo.catalogue import Card
from celo_zoo.formats import WeightsFile, encode_safetensors
from celo_zoo.location import FILE_NAMES, cache_folder

RECORD_SCHEMA = 1
_RECORD = "record.json"


@dataclass(frozen=True)
class Record:
    """Where a cached file came from; what later pulls and every load are held against.

    Attributes:
      name: zoo id, or `hf:...`.
      repository: on the hub.
      file: name there.
      revision: commit it was pulled from (the requested name where the hub told none).
      bytes: size of the original file.
      sha256: of the original file.
      content_hash: of the arrays.
      cached_sha256: of our `theta.safetensors`.
      pulled_at: UTC, ISO 8601.
    """

    name: str
    repository: str
    file: str
    revision: str
    bytes: int
    sha256: str
    content_hash: str
    cached_sha256: str
    pulled_at: str


# A value of the right type for every field.
_EXAMPLE: Mapping[str, Any] = asdict(Record("", "", "", "", 0, "", "", "", ""))


def read_record(name: str) -> Record | None:
    """The record of the cached entry `name`, or None if there is none.

    Raises:
      WeightsError: it is damaged or of another schema.
    """
    path = cache_folder(name) / _RECORD
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        schema = table.pop("schema")
        if schema != RECORD_SCHEMA:
            raise ValueError(f"schema {schema!r}, this version reads {RECORD_SCHEMA}")
        record = Record(**table)
        wrong = [key for key, value in table.items() if type(value) is not type(_EXAMPLE[key])]
        if wrong:
            raise ValueError(f"{wrong[0]} is {table[wrong[0]]!r}")
        return record
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} is damaged: {error}", hint=mend(name)) from error


def mend(name: str) -> str:
    """What to do about a damaged entry of the cache."""
    return f"run `celo zoo pull {name} --force`"


def write(
    card: Card, file: WeightsFile, published_as: str, revision: str, *, pulled_at: str
) -> Record:
    """Puts a checked file into the cache.

    Args:
      card: of the entry.
      file: as it came from the hub.
      published_as: its name there.
      revision: commit it came from.
      pulled_at: UTC, ISO 8601.

    Raises:
      WeightsError: the cache cannot be written; no part of a file is left behind.
    """
    metadata = {
        "name": card.id,
        "named_tuples": {path: list(fields) for path, fields in card.named_tuples.items()},
        "original": {"bytes": file.bytes, "file": published_as, "sha256": file.sha256},
        "repository": card.repository,
        "revision": revision,
    }
    weights = encode_safetensors(file.leaves, metadata)
    record = Record(
        name=card.id,
        repository=card.repository,
        file=published_as,
        revision=revision,
        bytes=file.bytes,
        sha256=file.sha256,
        content_hash=tree.content_hash(file.leaves),
        cached_sha256=hashlib.sha256(weights).hexdigest(),
        pulled_at=pulled_at,
    )
    table = json.dumps({"schema": RECORD_SCHEMA, **asdict(record)}, indent=2).encode() + b"\n"
    folder = cache_folder(card.id)
    try:
        # The record first: weights without one would be weights that nothing is held against.
        write_atomically(folder / _RECORD, lambda out: out.write(table))
        write_atomically(folder / FILE_NAMES[0], lambda out: out.write(weights))
    except OSError as error:
        raise WeightsError(
            f"cannot write to the cache {folder}: {error.strerror or error}",
            hint="free some space, or set CELO_CACHE_DIR to a folder that can be written",
        ) from error
    return record


def remove(name: str) -> Path:
    """Removes an entry from the cache, its record included, so that the next pull starts afresh.

    Returns:
      The folder that was removed.

    Raises:
      WeightsMissingError: it is not in the cache.
      WeightsError: it cannot be removed.
    """
    folder = cache_folder(name)
    if not folder.is_dir():
        raise WeightsMissingError(f"the weights {name} are not in the cache ({folder})")
    try:
        # Weights first: whatever interrupts this, they never lie there without their record.
        (folder / FILE_NAMES[0]).unlink(missing_ok=True)
        shutil.rmtree(folder)
    except OSError as error:
        raise WeightsError(f"cannot remove {folder}: {error.strerror or error}") from error
    return folder
