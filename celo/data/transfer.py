"""One file from the hub: resumed where an earlier transfer stopped, and held against its checksum.

huggingface_hub's own download begins anew when its process was stopped, and checks the size alone,
so only its session, its addresses and its errors are used here.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from celo.errors import DataError
from celo.hub import Failure, explain, is_network, is_offline

_TIMEOUT = 20.0  # seconds without a byte
_ATTEMPTS = 4  # to ask a hub that is busy
_CHUNK = 2**20
_LATER = "run the same command again later: it goes on where it stopped"


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository, as the hub describes it.

    Attributes:
      name: in the repository.
      part: of the set: "train", "valid" or "test".
      size: bytes.
      checksum: `sha256:...` for large files, `git-sha1:...` for those kept in git itself.
    """

    name: str
    part: str
    size: int
    checksum: str


class HubUnreachableError(DataError):
    """There is no way to the hub now."""


def ask(question: Callable[[], object], repository: str, file: str, revision: str) -> object:
    """Asks the hub something, again where it is busy.

    Raises:
      DataError: it does not answer, or not with what was asked for.
    """
    for attempt in itertools.count(1):
        if is_offline():
            raise DataError(
                "the hub was not asked, because HF_HUB_OFFLINE is set",
                hint="unset HF_HUB_OFFLINE TRANSFORMERS_OFFLINE",
            )
        try:
            return question()
        except DataError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno and not is_network(error):
                raise  # of the disk
            failure = explain(error, repository, file, revision, folder="datasets/")
            if failure.kind != "busy" or attempt == _ATTEMPTS:
                raise failed(failure) from error
            time.sleep(failure.wait)


def failed(failure: Failure) -> DataError:
    """The error for a failure of the hub."""
    if failure.kind in ("unreachable", "busy"):
        return HubUnreachableError(failure.message, hint=_LATER)
    return DataError(failure.message, hint=failure.hint)


def fetch(
    repository: str,
    commit: str,
    file: RemoteFile,
    target: Path,
    advanced: Callable[[int], object],
) -> None:
    """Brings a file to `target`, which exists only if it is whole.

    Args:
      repository: of datasets.
      commit: of it.
      file: of that.
      target: where to; what has arrived of it lies beside it, ending in `.part`.
      advanced: told how many bytes of the file are here, now and then.

    Raises:
      DataError: the hub cannot be reached, refuses, or sends something else.
      OSError: the disk is full.
    """
    part = target.with_name(f"{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    with part.open("ab", buffering=0) as out:
        here = out.seek(0, os.SEEK_END)
        if here > file.size:
            out.truncate(0)
        while (here := out.seek(0, os.SEEK_END)) < file.size:
            advanced(here)
            _go_on(repository, commit, file, out, advanced)
            if out.seek(0, os.SEEK_END) == here:
                raise DataError(
                    f"the hub sent nothing of {file.name} behind byte {here:,} of {file.size:,}",
                    hint=_LATER,
                )
        out.flush()
        os.fsync(out.fileno())
    found = checksum(part, file.checksum)
    if found != file.checksum:
        part.unlink()
        raise DataError(
            f"{file.name} of {repository} is not what the hub says it is: its checksum is {found}, "
            f"expected {file.checksum}",
            hint="nothing of it was kept; run the same command again",
        )
    os.replace(part, target)


def _go_on(
    repository: str,
    commit: str,
    file: RemoteFile,
    out: FileIO,
    advanced: Callable[[int], object],
) -> None:
    """Receives more of a file; a connection that broke after a while is taken up again."""
    here = out.tell()
    try:
        ask(
            lambda: _receive(repository, commit, file, out, advanced), repository, file.name, commit
        )
    except HubUnreachableError:
        if out.seek(0, os.SEEK_END) <= here:
            raise


def _receive(
    repository: str,
    commit: str,
    file: RemoteFile,
    out: FileIO,
    advanced: Callable[[int], object],
) -> None:
    """Appends what the hub sends until the file is whole or the connection breaks."""
    import huggingface_hub
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    url = huggingface_hub.hf_hub_url(repository, file.name, repo_type="dataset", revision=commit)
    here = out.seek(0, os.SEEK_END)
    # Bytes as they are: a compressed transfer could not be resumed.
    headers = {**build_hf_headers(library_name="celo"), "Accept-Encoding": "identity"}
    if here:
        headers["Range"] = f"bytes={here}-"
    session = huggingface_hub.get_session()
    with session.stream("GET", url, headers=headers, timeout=_TIMEOUT) as response:
        hf_raise_for_status(response)
        if here and response.status_code != 206:  # it begins at the beginning
            here = out.truncate(0)
        for chunk in response.iter_bytes():  # as it arrives, so that what has come is kept
            here += out.write(chunk)
            advanced(here)
            if here > file.size:
                out.truncate(0)
                raise DataError(
                    f"the hub sent more of {file.name} than the {file.size:,} bytes it had "
                    "announced",
                    hint="nothing of it was kept; run the same command again",
                )


def checksum(path: Path, like: str) -> str:
    """The checksum of a file, of the kind of another one (`sha256:...` or `git-sha1:...`)."""
    kind = like.partition(":")[0]
    if kind == "sha256":
        digest = hashlib.sha256()
    else:
        digest = hashlib.sha1(usedforsecurity=False)
        digest.update(f"blob {path.stat().st_size}\0".encode())
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return f"{kind}:{digest.hexdigest()}"
