"""Files of text sets: where they lie, which part they belong to, and the documents in them. No JAX.

A reader (`celo.records.DataSet.load` of a text set) yields the documents of one file; the readers
of plain text are here.
"""

from __future__ import annotations

import gzip
import itertools
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from celo import registry
from celo.data import parquet
from celo.data.hub_sources import hub_source
from celo.data.local import ENVIRONMENT, data_folders
from celo.data.parts import part_of
from celo.errors import DataError
from celo.records import DataSet

_SUFFIXES = (".txt", ".tokens", ".parquet")
# The subfolders in which text sets are kept beside each other.
_SHELVES = (".", "text")
_HEADING = re.compile(r"=+ .* =+")
Parts = tuple[tuple[str, tuple[Path, ...]], ...]


@dataclass(frozen=True)
class TextFiles:
    """Where the files of a text set are.

    Attributes:
      path: the folder.
      parts: files by part, in the order in which their documents count.
    """

    path: Path
    parts: Parts

    @property
    def stat_key(self) -> str:
        """Identifies the files without reading them: names, sizes and times of change.

        Raises:
          DataError: they cannot be looked at.
        """
        try:
            stats = [(file, file.stat()) for _, files in self.parts for file in files]
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read: {error}") from error
        return "; ".join(f"{file} {stat.st_size} {stat.st_mtime_ns}" for file, stat in stats)

    def files(self, part: str) -> tuple[Path, ...]:
        return dict(self.parts).get(part, ())


def locate(record: DataSet) -> TextFiles | None:
    """The first place with files of every part that the splits of a set need, or None."""
    for folder in data_folders():
        for candidate, files in _candidates(record, folder):
            parts = _by_part(record, candidate, files)
            if all(part in parts for part in record.splits.parts):
                return TextFiles(candidate, tuple((p, parts[p]) for p in record.splits.parts))
    return None


def missing(record: DataSet) -> tuple[str, str]:
    """What is missing and where to put which files: a message and a hint."""
    folders = data_folders()
    where = " and ".join(
        f"{folder}{'' if folder.is_dir() else ' (no folder)'}" for folder in folders
    )
    parts = ", ".join(f"{part}.txt" for part in record.splits.parts)
    hint = (
        f"put {parts} (one document a line; also .txt.gz, .parquet) into {folders[0] / record.name}"
    )
    if record.files:
        hint += f", or {record.files}"
    if record.published_vocabulary:
        hint += f"; or let another set stand in: `--data {record.name}=wikitext2`"
    if hub_source(record):
        hint = f"`celo data pull {record.name}` fetches it; or {hint}"
    if not os.environ.get(ENVIRONMENT):
        hint += f"; the variable {ENVIRONMENT} names another folder"
    return f"data set {record.name} is not on this machine; looked in {where}", hint


def _candidates(record: DataSet, folder: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Folders that may hold a set, with their files."""
    for shelf in _SHELVES:
        for name in (record.name, *record.folders):
            own = folder / shelf / name
            if own.is_dir():
                yield own, sorted(path for path in own.rglob("*") if path.is_file())
    for shelf in _SHELVES:  # NAME_train.txt.gz, ... beside files of other sets
        if (folder / shelf).is_dir():
            yield folder / shelf, sorted((folder / shelf).glob(f"{record.name}[._-]*"))


def _by_part(record: DataSet, folder: Path, files: Iterable[Path]) -> dict[str, tuple[Path, ...]]:
    only = record.splits.parts[0] if len(record.splits.parts) == 1 else None
    found: dict[str, list[Path]] = {}
    for file in files:
        relative = file.relative_to(folder)
        inside = any(part_of(name) for name in relative.parts[:-1])
        # In a folder that says its part, files may have any name, as those of the LM1B have.
        if not file.name.startswith(".") and (inside or _is_text(file)):
            part = next(filter(None, map(part_of, relative.parts)), None)
            if part is None and file.name.partition(".")[0] == record.name:
                part = only  # NAME.txt is all of a set of one part
            if part is not None:
                found.setdefault(part, []).append(file)
    return {part: tuple(files) for part, files in found.items()}


def _is_text(file: Path) -> bool:
    return file.name.removesuffix(".gz").endswith(_SUFFIXES)


def documents(record: DataSet, files: TextFiles | None, part: str) -> Iterator[str]:
    """The documents of one part of a set, in order.

    Args:
      record: the set.
      files: where it lies; None for embedded sets.
      part: as in `record.splits`.

    Raises:
      DataError: a file is damaged, or there is no document.
    """
    load = registry.resolve(record.load)
    paths: tuple[Path | None, ...] = (None,) if files is None else files.files(part)
    stream = itertools.chain.from_iterable(load(path, part) for path in paths)
    first = next(stream, None)
    if first is None:
        where = record.name if files is None else ", ".join(map(str, paths[:3]))
        raise DataError(
            f"{where}: expected documents, one a line, found none",
            hint="the file may be cut short or of another form; fetch it again",
        )
    return itertools.chain([first], stream)


def read_lines(path: Path, part: str) -> Iterator[str]:
    """Documents of a file with one a line; empty lines are none.

    Args:
      path: UTF-8 text, plain or compressed (`.gz`), or a parquet file with a column `text`.
      part: not used.

    Raises:
      DataError: the file is damaged, or not UTF-8.
    """
    if path.suffix == ".parquet":
        yield from parquet.read_text(path)
        return
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, 1):
                text = _decode(path, number, line)
                if text:
                    yield text
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path}: cannot be read: {error}",
            hint="it may be cut short; fetch or write it again",
        ) from error


def read_wikitext(path: Path, part: str) -> Iterator[str]:
    """Documents of a WikiText file: its paragraphs, headings (` = Title = `) left out."""
    return (line for line in read_lines(path, part) if not _HEADING.fullmatch(line))


def _decode(path: Path, number: int, line: bytes) -> str:
    try:
        return line.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: line {number} is not UTF-8 text: {error.reason} at byte {error.start}",
            hint="the file is damaged or of another form; documents are lines of UTF-8 text",
        ) from error
