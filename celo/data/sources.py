"""What a run gets when it asks for a set: its state, its arrays and their fingerprint. No JAX."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

from celo import registry
from celo.data import decoded, local, synthetic, text, tokens
from celo.data.arrays import Arrays
from celo.data.selection import REAL, SYNTHETIC, DataSelection
from celo.errors import DataMissingError
from celo.records import DataSet

Kind = Literal["real", "partial", "synthetic", "substitute"]
_ANY_VOCABULARY = "bytes"  # needs nothing but the documents


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
      record: the set whose rows these are: the one asked for, or the one that stands in for it.
      location: its files; None if it has none (embedded, synthetic).
      key: identifies the rows without reading them; equal keys mean equal arrays.
      synthetic: random rows were asked for.
    """

    record: DataSet
    location: local.Location | None
    key: str
    synthetic: bool = False


AnyFound = FoundSet | tokens.FoundText


def find(name: str, selection: DataSelection) -> FoundSet:
    """Finds the rows of a set of images without reading them.

    Args:
      name: of the set, any spelling.
      selection: what was asked for.

    Raises:
      UnknownNameError: no set has this name.
      DataMissingError: it is not on this machine; says where to put which files.
      DataError: its files cannot be looked at.
    """
    record, key = _behind(name, selection)
    if selection.source(name) == SYNTHETIC:
        return FoundSet(record, None, f"synthetic {synthetic.VERSION}", synthetic=True)
    if key is not None:
        return FoundSet(record, None, key)
    location = local.locate(record)
    if location is None:
        message, hint = local.missing(record)
        raise DataMissingError(message, hint=hint)
    return FoundSet(record, location, location.stat_key)


def find_text(name: str, vocabulary: str, selection: DataSelection) -> tokens.FoundText:
    """Finds the documents of a text set without reading them; see `find`.

    Args:
      name: of the set, any spelling.
      vocabulary: "32k" or "bytes".
      selection: what was asked for.
    """
    record, key = _behind(name, selection)
    source = selection.source(name)
    if source == SYNTHETIC:
        key = f"synthetic {synthetic.VERSION}"
        return tokens.FoundText(record, None, key, vocabulary, synthetic=True)
    files = None
    if key is None:
        files = text.locate(record)
        if files is None:
            message, hint = text.missing(record)
            raise DataMissingError(message, hint=hint)
        key = files.stat_key
    # Sets that no published task is defined on have no published vocabulary either.
    own = source != REAL or not record.published_vocabulary
    return tokens.FoundText(record, files, key, vocabulary, substitute=own)


def _behind(name: str, selection: DataSelection) -> tuple[DataSet, str | None]:
    """The set whose rows are read for `name`, and its key if it comes with a distribution."""
    source = selection.source(name)
    entry = registry.data_set(name if source in (REAL, SYNTHETIC) else source)
    record = entry.record
    if source == SYNTHETIC or not record.embedded:
        return record, None
    carrier = record.carrier or entry.origin.distribution
    try:
        return record, f"{carrier} {metadata.version(carrier)}"
    except metadata.PackageNotFoundError:
        raise DataMissingError(
            f"data set {record.name} comes with {carrier}, which is not installed",
            hint=f"pip install {carrier}",
        ) from None


def describe(name: str, selection: DataSelection, vocabulary: str = "") -> DataState:
    """What a set is here; reads no more than is needed to know the number of rows.

    Args:
      name: of the set, any spelling.
      selection: what was asked for.
      vocabulary: of text: how it becomes tokens; "" for any that needs nothing else.

    Raises:
      UnknownNameError: no set has this name.
      DataError: its files are damaged.
    """
    record = registry.data_set(name).record
    try:
        found = _find(record, selection, vocabulary)
        key = tokens.source_key(found) if isinstance(found, tokens.FoundText) else found.key
    except DataMissingError as error:
        return DataState(record.name, "real", "missing", "", "", error.message, error.hint)
    kind, label = _kind(found, selection.source(name))
    cut = _unusual_split(record, selection)
    return DataState(record.name, kind, label + cut, _location(found), key + cut)


def _find(record: DataSet, selection: DataSelection, vocabulary: str) -> AnyFound:
    if record.kind == "text":
        return find_text(record.name, vocabulary or _ANY_VOCABULARY, selection)
    return find(record.name, selection)


def _kind(found: AnyFound, source: str) -> tuple[Kind, str]:
    """What results may be aggregated with, and how tables call the data."""
    if found.synthetic:
        return "synthetic", "synthetic"
    parts = _missing_rows(found)
    notes = [found.record.edition] if found.record.edition else []
    notes += [f"partial ({', '.join(parts)})"] if parts else []
    if source != REAL:
        return "substitute", ", ".join([f"substitute {found.record.name}", *notes])
    if parts:
        return "partial", ", ".join(notes)
    return "real", ", ".join(["real", *notes])


def _location(found: AnyFound) -> str:
    if found.synthetic:
        return ""
    where = found.files if isinstance(found, tokens.FoundText) else found.location
    return str(where.path) if where else found.key


def load(found: FoundSet) -> Arrays:
    """The arrays of a set, kept for the next caller.

    Returns:
      train_images, test_images uint8 [N, H, W, C]; train_labels, test_labels int32 [N]; read-only.

    Raises:
      DataError: its files are damaged.
    """
    return _load(found)


def fingerprint(name: str, selection: DataSelection, vocabulary: str = "") -> str:
    """sha256 over names, types, shapes and bytes of the decoded arrays, in hexadecimal.

    The form of the files does not matter; the 1 % training split of the published code, where the
    selection asks for it, does. The arrays of text are its tokens.

    Args:
      name: of the set, any spelling.
      selection: what was asked for.
      vocabulary: of text: how it becomes tokens; "" for the documents themselves.

    Raises:
      UnknownNameError, DataMissingError, DataError: as `find` and `load`.
    """
    record = registry.data_set(name).record
    found = _find(record, selection, vocabulary)
    if isinstance(found, tokens.FoundText):
        digest = tokens.digest(found) if vocabulary else tokens.digest_of_documents(found)
    else:
        digest = _digest(found)
    cut = _unusual_split(record, selection)
    return hashlib.sha256((digest + cut).encode()).hexdigest() if cut else digest


def verify(name: str) -> str:
    """Reads the real set anew, checks every row and returns its fingerprint; a decoded copy of
    images in the cache is replaced.

    Raises:
      UnknownNameError, DataMissingError, DataError: as `find` and `load`.
    """
    if registry.data_set(name).record.kind == "text":
        return fingerprint(name, DataSelection())
    found = find(name, DataSelection())
    if found.location is None:
        return _digest(found)
    return decoded.load(found.record, found.location, anew=True).fingerprint


def _unusual_split(record: DataSet, selection: DataSelection) -> str:
    return ", first 1 % for training" if selection.published_split(record.name) else ""


def _missing_rows(found: AnyFound) -> list[str]:
    record = found.record
    if isinstance(found, tokens.FoundText):
        what = "documents"
        rows = {part: tokens.count(found, part) for part in found.parts} if found.files else {}
    else:
        what = "rows"
        rows = _image_rows(found)
    return [
        f"{rows[part]} of {complete} {part} {what}"
        for part, complete in (("train", record.train_rows), ("test", record.test_rows))
        if rows.get(part, complete) < complete
    ]


def _image_rows(found: FoundSet) -> dict[str, int]:
    if found.location is None:
        return {}
    rows = local.row_counts(found.location)
    if rows is None:
        arrays = load(found)
        rows = len(arrays["train_images"]), len(arrays["test_images"])
    return {"train": rows[0], "test": rows[1]}


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
