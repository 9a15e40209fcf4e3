"""What a run gets when it asks for a set: its state, its arrays and their fingerprint. No JAX."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

from celo import registry
from celo.data import decoded, local, synthetic
from celo.data.arrays import Arrays
from celo.data.selection import SYNTHETIC, DataSelection
from celo.data.splits import has_published_split
from celo.errors import DataMissingError
from celo.records import DataSet

Kind = Literal["real", "partial", "synthetic", "substitute"]


@dataclass(frozen=True)
class DataState:
    """What stands behind the name of a set for one selection.

    Attributes:
      name: of the set.
      kind: what results on it may be aggregated with.
      label: how tables call it: "real", "partial (20000 of 50000 train rows)", "synthetic", ...
      location: file, folder or distribution it comes from; empty if missing or synthetic.
      stat_key: identifies the source without reading it; equal keys mean equal arrays.
      missing: why it cannot be used, or None.
      hint: what to do about that.
    """

    name: str
    kind: Kind
    label: str
    location: str
    stat_key: str
    missing: str | None = None
    hint: str | None = None


@dataclass(frozen=True)
class FoundSet:
    """A set and where its rows come from; hashable, so that what is read can be kept under it.

    Attributes:
      record: the set.
      location: its files; None if it has none (embedded, synthetic).
      key: identifies the rows without reading them; equal keys mean equal arrays.
      synthetic: random rows were asked for.
    """

    record: DataSet
    location: local.Location | None
    key: str
    synthetic: bool = False


def find(name: str, selection: DataSelection) -> FoundSet:
    """Finds the rows of a set without reading them.

    Args:
      name: of the set, any spelling.
      selection: what was asked for.

    Raises:
      UnknownNameError: no set has this name.
      DataMissingError: it is not on this machine; says where to put which files.
      DataError: its files cannot be looked at.
    """
    entry = registry.data_set(name)
    record = entry.record
    if selection.source(record.name) == SYNTHETIC:
        return FoundSet(record, None, f"synthetic {synthetic.VERSION}", synthetic=True)
    if record.embedded:
        carrier = record.carrier or entry.origin.distribution
        try:
            return FoundSet(record, None, f"{carrier} {metadata.version(carrier)}")
        except metadata.PackageNotFoundError:
            raise DataMissingError(
                f"data set {record.name} comes with {carrier}, which is not installed",
                hint=f"pip install {carrier}",
            ) from None
    location = local.locate(record)
    if location is None:
        message, hint = local.missing(record)
        raise DataMissingError(message, hint=hint)
    return FoundSet(record, location, location.stat_key)


def describe(name: str, selection: DataSelection) -> DataState:
    """What a set is here; reads no more than headers where these tell the number of rows.

    Args:
      name: of the set, any spelling.
      selection: what was asked for.

    Raises:
      UnknownNameError: no set has this name.
      DataError: its files are damaged.
    """
    try:
        found = find(name, selection)
    except DataMissingError as error:
        name = registry.data_set(name).record.name
        return DataState(name, "real", "missing", "", "", error.message, error.hint)
    record, location = found.record, str(found.location.path) if found.location else ""
    kind: Kind
    if found.synthetic:
        kind, label = "synthetic", "synthetic"
    elif found.location is None:
        kind, label, location = "real", "real", found.key
    else:
        parts = _missing_rows(found, found.location)
        kind = "partial" if parts else "real"
        label = f"partial ({', '.join(parts)})" if parts else "real"
    cut = _unusual_split(record, selection)
    return DataState(record.name, kind, label + cut, location, found.key + cut)


def load(found: FoundSet) -> Arrays:
    """The arrays of a set, kept for the next caller.

    Returns:
      train_images, test_images uint8 [N, H, W, C]; train_labels, test_labels int32 [N]; read-only.

    Raises:
      DataError: its files are damaged.
    """
    return _load(found)


def fingerprint(name: str, selection: DataSelection) -> str:
    """sha256 over names, types, shapes and bytes of the decoded arrays, in hexadecimal.

    The form of the files does not matter; the 1 % training split of the published code, where the
    selection asks for it, does.

    Raises:
      UnknownNameError, DataMissingError, DataError: as `find` and `load`.
    """
    found = find(name, selection)
    digest = _digest(found)
    cut = _unusual_split(found.record, selection)
    return hashlib.sha256((digest + cut).encode()).hexdigest() if cut else digest


def verify(name: str) -> str:
    """Reads the real set anew, checks every row and returns its fingerprint; the copy in the cache
    is replaced.

    Raises:
      UnknownNameError, DataMissingError, DataError: as `find` and `load`.
    """
    found = find(name, DataSelection())
    if found.location is None:
        return _digest(found)
    return decoded.load(found.record, found.location, anew=True).fingerprint


def _unusual_split(record: DataSet, selection: DataSelection) -> str:
    one_percent = selection.published_splits and has_published_split(record.name)
    return ", first 1 % for training" if one_percent else ""


def _missing_rows(found: FoundSet, location: local.Location) -> list[str]:
    rows = local.row_counts(location)
    if rows is None:
        arrays = load(found)
        rows = len(arrays["train_images"]), len(arrays["test_images"])
    complete = found.record.train_rows, found.record.test_rows
    return [
        f"{there} of {wanted} {part} rows"
        for part, there, wanted in zip(("train", "test"), rows, complete, strict=True)
        if there < wanted
    ]


# Two tasks in a row often share a set. What is mapped from the cache takes no memory.
@functools.lru_cache(maxsize=4)
def _load(found: FoundSet) -> Arrays:
    if found.synthetic:
        return synthetic.generate(found.record)
    if found.location is None:
        return local.read(found.record, None)
    return decoded.load(found.record, found.location).arrays


@functools.lru_cache(maxsize=64)
def _digest(found: FoundSet) -> str:
    if found.location is None:
        return decoded.fingerprint_of(load(found))
    return decoded.load(found.record, found.location).fingerprint
