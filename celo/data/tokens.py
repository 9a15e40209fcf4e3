"""Token arrays of text sets: made once, kept in the cache, read as memory maps. No JAX.

A part of a set is one file, `tokens/DIGEST.npy`: the first `WIDTH` ids of every document, padded
with zeros, uint16 [documents, WIDTH]. The file is mapped, so that what is used of a set, not its
size, decides how much memory it takes.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from celo.data import synthetic, text, tokenization
from celo.data.tokenization import VOCABULARIES, Tokenizer
from celo.errors import DataError, UsageError
from celo.files import cache_dir, write_atomically
from celo.records import DataSet, Share

WIDTH = 129
"""Ids kept of a document: as many as the longest task of the catalogue reads."""
_VERSION = 1
_AT_ONCE = 1024  # documents between two writes


@dataclass(frozen=True)
class FoundText:
    """A text set, the form it is wanted in and where it comes from; hashable.

    Attributes:
      record: the set whose documents these are.
      files: where they lie; None for embedded and synthetic sets.
      key: identifies the documents without reading them.
      vocabulary: "bytes" or "32k".
      substitute: it stands in for another set, so that its own train split teaches the 32k
        vocabulary.
      synthetic: random ids were asked for.
    """

    record: DataSet
    files: text.TextFiles | None
    key: str
    vocabulary: str
    substitute: bool = False
    synthetic: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        return self.record.splits.parts


def check_vocabulary(name: str) -> None:
    """Raises UsageError for a vocabulary that does not exist."""
    if name not in VOCABULARIES:
        raise UsageError(
            f"there is no vocabulary {name!r}", hint=f"known: {', '.join(sorted(VOCABULARIES))}"
        )


def load(found: FoundText) -> dict[str, np.ndarray]:
    """Ids of every part: uint16 [documents, WIDTH], mapped from the cache, read-only.

    Raises:
      DataMissingError: the vocabulary is missing, or the library for it.
      DataError: a file is damaged.
    """
    return {part: _part(found, part) for part in found.parts}


def rows_of(share: Share, rows: int) -> slice:
    """The documents of a range given in percent, at the nearest document."""
    return slice(round(share.low * rows / 100), round(share.high * rows / 100))


def source_key(found: FoundText) -> str:
    """Identifies documents and vocabulary without reading either."""
    if found.synthetic or found.vocabulary == "bytes" or found.substitute:
        return f"{found.key} {found.vocabulary}"
    path = tokenization.find_sentencepiece()
    stat = path.stat()
    return f"{found.key} {found.vocabulary} {path} {stat.st_size} {stat.st_mtime_ns}"


def count(found: FoundText, part: str) -> int:
    """How many documents a part has.

    Raises:
      DataError: a file is damaged.
    """
    return _count(found.record, found.files, found.key, part)


@functools.lru_cache(maxsize=64)
def _count(record: DataSet, files: text.TextFiles | None, key: str, part: str) -> int:
    name = hashlib.sha256(f"{record.name} {record.load} {part} {key}".encode()).hexdigest()[:32]
    path = cache_dir() / "tokens" / f"{name}.count"
    try:
        return int(path.read_text("ascii"))
    except (OSError, ValueError):
        found = sum(1 for _ in text.documents(record, files, part))
        write_atomically(path, lambda file: file.write(str(found).encode()))
        return found


def digest(found: FoundText) -> str:
    """sha256 over the ids of all parts, in hexadecimal."""
    total = hashlib.sha256()
    for part, array in load(found).items():
        total.update(f"{part} {array.dtype.str} {array.shape}\n".encode())
        for start in range(0, len(array), 64 * _AT_ONCE):
            total.update(np.ascontiguousarray(array[start : start + 64 * _AT_ONCE]).data)
    return total.hexdigest()


def digest_of_documents(found: FoundText) -> str:
    """sha256 over the documents of all parts, in hexadecimal.

    Raises:
      DataError: a file is damaged.
    """
    if found.synthetic:
        return digest(found)
    total = hashlib.sha256()
    for part in found.parts:
        total.update(f"{part} {_content_digest(found.record, found.files, part)}\n".encode())
    return total.hexdigest()


def _part(found: FoundText, part: str) -> np.ndarray:
    if found.synthetic:
        return _synthetic(found.record, found.vocabulary, part)
    tokenizer = _tokenizer(found, source_key(found))
    path = cache_dir() / "tokens" / f"{_file_digest(found, part, tokenizer)}.npy"
    array = _mapped(path)
    if array is None:
        source = text.documents(found.record, found.files, part)
        try:
            write_atomically(path, lambda file: _write(file, source, tokenizer))
        except OSError as error:
            raise DataError(
                f"the tokens of {found.record.name} cannot be kept in {path.parent}: {error}",
                hint="make room there, or let CELO_CACHE_DIR name another folder",
            ) from error
        array = _mapped(path)
    assert array is not None, f"{path} was written, but cannot be read"
    return array


def _file_digest(found: FoundText, part: str, tokenizer: Tokenizer) -> str:
    identity = f"{_VERSION} {WIDTH} {found.record.name} {found.record.load} {part}"
    return hashlib.sha256(f"{identity} {tokenizer.identity} {found.key}".encode()).hexdigest()[:32]


# Learning a vocabulary takes seconds, and two tasks in a row often share one.
@functools.lru_cache(maxsize=4)
def _tokenizer(found: FoundText, key: str) -> Tokenizer:
    if found.vocabulary == "bytes":
        return tokenization.bytes_tokenizer()
    if not found.substitute:
        return tokenization.sentencepiece_tokenizer(tokenization.find_sentencepiece())
    share = found.record.splits.train
    # Which documents these are hangs on the files, not on where or when they were written.
    content = _content_digest(found.record, found.files, share.part)
    return tokenization.learned_tokenizer(
        lambda: _shared(found, share), f"{content} {share} {tokenization.TRAINING_DOCUMENTS}"
    )


def _shared(found: FoundText, share: Share) -> Iterator[str]:
    """The documents of a range of a part."""
    if (share.low, share.high) == (0, 100):
        return text.documents(found.record, found.files, share.part)
    count = sum(1 for _ in text.documents(found.record, found.files, share.part))
    rows = rows_of(share, count)
    documents = text.documents(found.record, found.files, share.part)
    return itertools.islice(documents, rows.start, rows.stop)


def _content_digest(record: DataSet, files: text.TextFiles | None, part: str) -> str:
    total = hashlib.sha256()
    for document in text.documents(record, files, part):
        total.update(document.encode())
        total.update(b"\n")
    return total.hexdigest()


def _mapped(path: Path) -> np.ndarray | None:
    """The ids that an earlier run kept, or None; a file that cannot be read is made anew."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    whole = array.ndim == 2 and array.shape[1] == WIDTH and array.dtype == np.uint16
    return array if whole else None


def _write(file: BinaryIO, source: Iterable[str], tokenizer: Tokenizer) -> None:
    rows = 0
    _write_header(file, rows)
    start = file.tell()
    for batch in _batches(source):
        ids = np.zeros((len(batch), WIDTH), np.uint16)
        for row, tokens in zip(ids, tokenizer.encode(batch, WIDTH), strict=True):
            row[: len(tokens)] = tokens
        file.write(ids.tobytes())
        rows += len(batch)
    file.seek(0)
    # numpy leaves room for a longer first axis in every header, so its length never changes.
    _write_header(file, rows)
    assert file.tell() == start, "the header of a token file has moved"


def _write_header(file: BinaryIO, rows: int) -> None:
    fields = {"descr": "<u2", "fortran_order": False, "shape": (rows, WIDTH)}
    np.lib.format.write_array_header_1_0(file, fields)


def _batches(source: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(source)
    while batch := list(itertools.islice(iterator, _AT_ONCE)):
        yield batch


def _synthetic(record: DataSet, vocabulary: str, part: str) -> np.ndarray:
    return synthetic.tokens(record, part, VOCABULARIES[vocabulary], WIDTH)
