"""Sets from the Hugging Face hub into the data folder of the cache: whole or not at all.

Files arrive in `data/.pulling-NAME/`, which becomes `data/NAME/` when the last one is whole and
checked. What a pull goes for (repository, commit, files, checksums) is written there first, so that
one that was interrupted goes on with the same commit; later it stays beside the files as
`pulled.json`. One process at a time pulls a set; others wait for it.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from celo import registry
from celo.data import local, transfer
from celo.data.hub_sources import hub_source
from celo.data.transfer import RemoteFile
from celo.errors import DataError, UsageError
from celo.files import cache_dir, write_atomically
from celo.records import DataSet, HubSource

_SCHEMA = 1
_RECORD = "pulled.json"
_SPARE = 64 * 2**20
_TURN = 0.2  # seconds between two looks at a lock


@dataclass(frozen=True)
class Offer:
    """What a pull will fetch.

    Attributes:
      name: of the set.
      source: where it is.
      commit: of the repository.
      files: of it.
      here: bytes that an interrupted pull has brought already.
    """

    name: str
    source: HubSource
    commit: str
    files: tuple[RemoteFile, ...]
    here: int

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class Pulled:
    """A set that is here.

    Attributes:
      name: of the set.
      folder: its files.
      repository: they came from.
      commit: likewise.
      bytes: of all files.
      downloaded: False if they were here before.
    """

    name: str
    folder: Path
    repository: str
    commit: str
    bytes: int
    downloaded: bool


def source_of(record: DataSet) -> HubSource:
    """Where a set lies on the hub.

    Raises:
      UsageError: it cannot be had there.
    """
    source = hub_source(record)
    if source is None:
        hint = "it is always here" if record.embedded else local.missing(record)[1]
        raise UsageError(f"data set {record.name} is not on the hub", hint=hint)
    return source


def pulled(name: str) -> Pulled | None:
    """The set that an earlier pull brought, or None."""
    folder = _root() / name
    record = _read_record(folder)
    if record is None or not all(
        _target(folder, file).is_file() and _target(folder, file).stat().st_size == file.size
        for file in record.files
    ):
        return None
    source = record.source
    return Pulled(name, folder, source.repository, record.commit, record.size, False)


def offer(record: DataSet, *, revision: str | None = None) -> Offer:
    """Asks the hub what a pull of a set would fetch; an interrupted one names its own commit.

    Args:
      record: the set.
      revision: another branch, tag or commit than the source names.

    Raises:
      UsageError: the set cannot be had on the hub.
      DataError: the hub cannot be reached, or has no such files.
    """
    source = source_of(record)
    left = _read_record(_staging(record.name))
    if left is not None and left.source == source and revision in (None, left.commit):
        here = sum(_arrived(_target(_staging(record.name), file)) for file in left.files)
        return Offer(record.name, source, left.commit, left.files, here)
    wanted = revision or source.revision
    commit, files = _look(source, wanted)
    return Offer(record.name, source, commit, files, 0)


def pull(
    name: str,
    *,
    revision: str | None = None,
    force: bool = False,
    offered: Callable[[Offer], object] = lambda offer: None,
    advanced: Callable[[Offer, int], object] = lambda offer, here: None,
    waiting: Callable[[], object] = lambda: None,
) -> Pulled:
    """Fetches a set from the hub into the cache.

    Args:
      name: of the set, any spelling.
      revision: branch, tag or commit; None means what the source names.
      force: fetch it again if it is here.
      offered: told what will be fetched, before the first byte of it.
      advanced: told how many bytes are here, now and then.
      waiting: told if another process is pulling the set.

    Raises:
      UnknownNameError: no set has this name.
      UsageError: it cannot be had on the hub.
      DataError: the hub cannot be reached or refuses, a file is not what the hub says, or there is
        too little disk.
    """
    record = registry.data_set(name).record
    source_of(record)
    with _alone(record.name, waiting):
        there = pulled(record.name)
        if there is not None and not force and revision in (None, there.commit):
            return there
        found = offer(record, revision=revision)
        offered(found)
        _check_room(found)
        try:
            return _fetch(found, advanced)
        except OSError as error:
            raise DataError(
                f"data set {record.name} cannot be stored in {_root()}: {error.strerror or error}",
                hint="free some space, or name another folder with CELO_CACHE_DIR",
            ) from error


def remove(name: str) -> int:
    """Removes what pulls of a set have brought; returns how many bytes that frees."""
    size = 0
    for folder in (_root() / name, _staging(name)):
        if _read_record(folder) is not None:
            size += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            shutil.rmtree(folder, ignore_errors=True)
    return size


def _look(source: HubSource, revision: str) -> tuple[str, tuple[RemoteFile, ...]]:
    import huggingface_hub

    api, repository = huggingface_hub.HfApi(), source.repository

    def ask(question: Callable[[], Any]) -> Any:
        return transfer.ask(question, repository, "the list of files", revision)

    info = ask(lambda: api.dataset_info(repository, revision=revision, timeout=20))
    commit = info.sha or revision
    tree = ask(
        lambda: list(
            api.list_repo_tree(repository, recursive=True, revision=commit, repo_type="dataset")
        )
    )
    files = []
    for part, pattern in source.files:
        matching = [
            _described(entry, part)
            for entry in tree
            if isinstance(entry, huggingface_hub.hf_api.RepoFile)
            and fnmatch.fnmatchcase(entry.path, pattern)
        ]
        if not matching:
            raise DataError(
                f"{repository} has no file {pattern} at revision {revision!r}",
                hint="the repository may have been rearranged; --revision names an older commit",
            )
        files += sorted(matching, key=lambda file: file.name)
    return commit, tuple(files)


def _described(entry: Any, part: str) -> RemoteFile:
    if entry.lfs is not None:
        return RemoteFile(entry.path, part, entry.lfs.size, f"sha256:{entry.lfs.sha256}")
    return RemoteFile(entry.path, part, entry.size, f"git-sha1:{entry.blob_id}")


def _check_room(offer: Offer) -> None:
    root = _root()
    base = next(path for path in (root, *root.parents) if path.is_dir())
    free, needed = shutil.disk_usage(base).free, offer.size - offer.here
    if free < needed + _SPARE:
        raise DataError(
            f"data set {offer.name} needs {needed / 1e9:.2f} GB in {root}, which has "
            f"{free / 1e9:.2f} GB left",
            hint="free some space, or name another folder with CELO_CACHE_DIR",
        )


def _fetch(offer: Offer, advanced: Callable[[Offer, int], object]) -> Pulled:
    staging, final = _staging(offer.name), _root() / offer.name
    known = _read_record(staging)
    if known is None or (known.commit, known.files) != (offer.commit, offer.files):
        shutil.rmtree(staging, ignore_errors=True)
        _write_record(staging, offer)
    done = 0
    for file in offer.files:
        target, before = _target(staging, file), done
        if not target.is_file():
            transfer.fetch(
                offer.source.repository,
                offer.commit,
                file,
                target,
                lambda here, before=before: advanced(offer, before + here),
            )
        done += file.size
        advanced(offer, done)
    aside = staging.with_name(f".removed-{offer.name}-{secrets.token_hex(4)}")
    with contextlib.suppress(FileNotFoundError):
        os.rename(final, aside)
    os.rename(staging, final)
    shutil.rmtree(aside, ignore_errors=True)
    repository = offer.source.repository
    return Pulled(offer.name, final, repository, offer.commit, offer.size, True)


def _root() -> Path:
    return cache_dir() / "data"


def _staging(name: str) -> Path:
    return _root() / f".pulling-{name}"


def _target(folder: Path, file: RemoteFile) -> Path:
    return folder / file.part / file.name.rpartition("/")[2]


def _arrived(target: Path) -> int:
    for path in (target, target.with_name(f"{target.name}.part")):
        with contextlib.suppress(OSError):
            return path.stat().st_size
    return 0


def _write_record(folder: Path, offer: Offer) -> None:
    table = {
        "schema": _SCHEMA,
        "name": offer.name,
        "source": asdict(offer.source),
        "commit": offer.commit,
        "files": [asdict(file) for file in offer.files],
        "begun": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    text = json.dumps(table, indent=2) + "\n"
    write_atomically(folder / _RECORD, lambda out: out.write(text.encode()))


def _read_record(folder: Path) -> Offer | None:
    """What a pull went for, or None if none has begun there or what it wrote is damaged."""
    try:
        table = json.loads((folder / _RECORD).read_text("utf-8"))
        if table["schema"] != _SCHEMA:
            return None
        source = dict(table["source"])
        source["files"] = tuple((part, pattern) for part, pattern in source["files"])
        files = tuple(RemoteFile(**file) for file in table["files"])
        return Offer(table["name"], HubSource(**source), table["commit"], files, 0)
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def _alone(name: str, waiting: Callable[[], object]) -> Iterator[None]:
    """Lets one process pull a set. Where locks do nothing, checksums still tell a spoilt file."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    path = _root() / f".pulling-{name}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise DataError(
            f"data sets cannot be stored in {_root()}: {error.strerror or error}",
            hint="name another folder with CELO_CACHE_DIR",
        ) from error
    try:
        told = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    waiting()
                told = True
                time.sleep(_TURN)
            except OSError:  # a file system without locks
                break
        yield
    finally:
        os.close(handle)
