"""The Hugging Face hub: files fetched and sent by huggingface_hub itself, failures in our words."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celo.errors import WeightsError, WeightsMissingError
from celo.hub import BUSY, chain, explain, is_network, knock
from celo.hub import is_offline as is_offline

_TIMEOUT = 5.0  # seconds to wait for the hub's first answer
_KNOCK_SECONDS = 2.0  # for a connection, where something stands in for what the hub has
_COMMIT = re.compile(r"[0-9a-f]{40}")
_RETRIES = 2
_TEMPORARY = "celo-zoo-"
_ABANDONED = 24 * 3600.0  # seconds after which no pull can still be running


class NotOnHubError(WeightsError):
    """The repository exists, the file does not."""


def _refuse_offline() -> None:
    if is_offline():
        raise WeightsMissingError("HF_HUB_OFFLINE is set")


def refuse_unreachable() -> None:
    """Finds out quickly whether a pull could work at all.

    huggingface_hub waits for minutes where names are not resolved or packets disappear.

    Raises:
      WeightsMissingError: there is no network.
    """
    _refuse_offline()
    reason = knock(_KNOCK_SECONDS)
    if reason:
        raise WeightsMissingError(f"the hub cannot be reached: {reason}")


class _BusyError(WeightsMissingError):
    """The hub asks to come back later (429, 5xx); `wait`: after how many seconds."""

    wait = 0.0


@dataclass(frozen=True)
class Download:
    """A file that was fetched.

    Attributes:
      path: where it lies now.
      file: its name in the repository.
      commit: it belongs to; the revision asked for, where the hub told no commit.
    """

    path: Path
    file: str
    commit: str


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """An empty folder for `download`; those that killed processes left behind go, too.

    Raises:
      OSError: there is no room for it.
    """
    with contextlib.suppress(OSError):
        for left in Path(tempfile.gettempdir()).glob(f"{_TEMPORARY}*"):
            if time.time() - left.stat().st_mtime > _ABANDONED:
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_TEMPORARY) as folder:
        yield Path(folder)


def download(
    repository: str, files: Sequence[str], revision: str, folder: Path, *, limit: int
) -> Download:
    """Fetches the first of `files` that the repository has.

    Args:
      repository: `org/name`.
      files: names in it.
      revision: branch, tag or commit.
      folder: where huggingface_hub keeps what it fetches; empty.
      limit: bytes; a larger file is refused before, or while, it is fetched.

    Raises:
      WeightsMissingError: there is no network.
      NotOnHubError: the repository has none of the files.
      WeightsError: no such repository or revision, no access, too large, or the transfer failed.
    """
    _refuse_offline()
    for file in files[:-1]:
        try:
            return _patiently(repository, file, revision, folder, limit)
        except NotOnHubError:
            continue
    return _patiently(repository, files[-1], revision, folder, limit)


def _patiently(repository: str, file: str, revision: str, folder: Path, limit: int) -> Download:
    # huggingface_hub itself retries the transfer, but not the question before it.
    for _ in range(_RETRIES):
        try:
            return _download(repository, file, revision, folder, limit)
        except _BusyError as error:
            time.sleep(error.wait)
    return _download(repository, file, revision, folder, limit)


def _download(repository: str, file: str, revision: str, folder: Path, limit: int) -> Download:
    import huggingface_hub

    try:
        # Forced, because otherwise a machine without network waits through half a minute of
        # retries; `folder` is empty, so nothing is fetched twice.
        path = huggingface_hub.hf_hub_download(
            repo_id=repository,
            filename=file,
            revision=revision,
            cache_dir=folder,
            force_download=True,
            etag_timeout=_TIMEOUT,
            tqdm_class=_bar_that_stops_at(limit, f"{repository}/{file}"),
        )
    except Exception as error:
        raise _explain(error, repository, file, revision) from error
    # huggingface_hub keeps files as snapshots/COMMIT/FILE.
    commits = [part for part in Path(path).parts if _COMMIT.fullmatch(part)]
    return Download(Path(path), file, commits[-1] if commits else revision)


def _bar_that_stops_at(limit: int, what: str) -> type:
    """A progress bar that refuses to go on: huggingface_hub itself knows no limit of size."""
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, **options: Any):
            super().__init__(*args, **options)
            self._received = 0
            self._refuse_more_than(options.get("total") or 0)

        def update(self, n: float | None = 1) -> bool | None:
            self._received += n or 0  # `self.n` stands still where no bar is drawn
            self._refuse_more_than(self._received)
            return super().update(n)

        def _refuse_more_than(self, size: float) -> None:
            if size > limit:
                self.close()
                raise WeightsError(
                    f"{what} is larger than {limit // 2**20} MiB, which no file of weights is",
                    hint="nothing was stored; is it the right repository?",
                )

    return Bar


def upload(repository: str, files: Mapping[str, bytes]) -> str:
    """Puts files into one commit on main; the repository is made if there is none.

    Args:
      repository: `org/name`.
      files: contents by name in it.

    Returns:
      The commit; where nothing differs from what is there, the one that is there.

    Raises:
      WeightsMissingError: there is no network.
      WeightsError: no token, no right to write, or the hub refuses the files.
    """
    _refuse_offline()
    import huggingface_hub

    additions = [
        huggingface_hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=data)
        for name, data in files.items()
    ]
    api = huggingface_hub.HfApi()
    try:
        api.create_repo(repository, exist_ok=True)
        done = api.create_commit(repository, additions, commit_message="Weights, pushed by celo")
    except Exception as error:
        raise _explain_upload(error, repository) from error
    return done.oid


def _explain_upload(error: Exception, repository: str) -> WeightsError:
    from huggingface_hub import errors

    for cause in chain(error):
        status = getattr(getattr(cause, "response", None), "status_code", None)
        if isinstance(cause, errors.LocalTokenNotFoundError) or status in (401, 403, 404):
            known = f" (status {status})" if status else ""
            return WeightsError(
                f"the hub does not let you write to {repository}{known}",
                hint="run `hf auth login` with a token that may write there",
            )
        if status in BUSY:
            return WeightsMissingError(f"the hub is not available now (status {status})")
        if status is not None:
            return WeightsError(f"the hub refused the files for {repository} (status {status})")
        if is_network(cause):
            return WeightsMissingError(
                f"the hub cannot be reached ({cause or type(cause).__name__})"
            )
    return WeightsError(f"the upload to {repository} failed: {type(error).__name__}: {error}")


def _explain(error: Exception, repository: str, file: str, revision: str) -> WeightsError:
    for cause in chain(error):
        if isinstance(cause, WeightsError):
            return cause
    failure = explain(error, repository, file, revision)
    if failure.kind == "busy":
        busy = _BusyError(failure.message)
        busy.wait = failure.wait
        return busy
    if failure.kind == "no-file":
        return NotOnHubError(failure.message)
    if failure.kind == "unreachable":
        return WeightsMissingError(failure.message)
    return WeightsError(failure.message, hint=failure.hint)
