"""What goes wrong between here and the Hugging Face hub, in our words.

huggingface_hub is imported by whoever asks, and only then.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

BUSY = (429, 500, 502, 503, 504)
_TRUE = {"1", "on", "yes", "true"}
_WAIT, _MAX_WAIT = 0.5, 10.0  # seconds, where the hub names none; at most

Kind = Literal["unreachable", "busy", "no-file", "refused"]


@dataclass(frozen=True)
class Failure:
    """Why the hub did not give what it was asked for.

    Attributes:
      kind: "unreachable" where there is no network, "busy" where asking again may help, "no-file"
        where only the file is missing, "refused" for everything else.
      message: one sentence.
      hint: what to do, or None.
      wait: seconds after which to ask a busy hub again.
    """

    kind: Kind
    message: str
    hint: str | None = None
    wait: float = 0.0


def is_offline() -> bool:
    """Whether the environment forbids the network (`HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE`)."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").lower() in _TRUE for name in names)


def endpoint() -> str:
    """Address of the hub (`HF_ENDPOINT`, or the public one)."""
    return os.environ.get("HF_ENDPOINT") or "https://huggingface.co"


def knock(seconds: float) -> str:
    """Whether anything takes a connection where the hub, or the proxy before it, should be.

    Nothing is asked and no certificate looked at: where this succeeds a transfer may still fail,
    but where it fails none can succeed. The answer is kept for a minute.

    Args:
      seconds: to wait at most, for the name to be resolved and for the connection together.

    Returns:
      "" or, in a few words, why not.
    """
    import urllib.parse
    import urllib.request

    url = urllib.parse.urlsplit(endpoint())
    proxies = urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if proxy and not urllib.request.proxy_bypass(url.hostname or ""):
        url = urllib.parse.urlsplit(proxy if "//" in proxy else f"//{proxy}", "http")
    try:
        port = url.port or {"https": 443, "http": 80}.get(url.scheme, 1080)
    except ValueError:
        return f"{url.hostname} has no valid port"
    return _knock(url.hostname or "", port, seconds, int(time.monotonic() / 60))


@functools.lru_cache(maxsize=4)
def _knock(host: str, port: int, seconds: float, minute: int) -> str:
    import socket
    import threading

    answers: list[str] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), seconds).close()
            answers.append("")
        except OSError as error:
            answers.append(f"{host}: {error.strerror or error}")

    # In a thread, because a look-up of a name knows no time limit.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else f"{host} does not answer within {seconds:g} s"


def explain(
    error: Exception, repository: str, file: str, revision: str, *, folder: str = ""
) -> Failure:
    """What an exception of huggingface_hub means.

    Args:
      error: what it raised.
      repository: `org/name`.
      file: that was asked for.
      revision: likewise.
      folder: of the repository's page: "datasets/" or "" for models.
    """
    from huggingface_hub import errors

    for cause in chain(error):
        if isinstance(cause, errors.GatedRepoError):
            page = f"https://huggingface.co/{folder}{repository}"
            return Failure(
                "refused",
                f"the hub does not let you read {repository}: it is gated",
                f"ask for access at {page}, then `hf auth login`",
            )
        if isinstance(cause, errors.RepositoryNotFoundError):
            return Failure(
                "refused",
                f"the hub has no repository {repository}, or it is private",
                "if it is private, run `hf auth login` first",
            )
        if isinstance(cause, errors.RevisionNotFoundError):
            return Failure("refused", f"{repository} has no revision {revision!r}")
        if isinstance(cause, errors.OfflineModeIsEnabled):
            return Failure("unreachable", "huggingface_hub is in offline mode")
        if isinstance(cause, errors.HfHubHTTPError):
            return _explain_status(cause, repository, file, revision)
        if isinstance(cause, errors.EntryNotFoundError) and not isinstance(
            cause, errors.LocalEntryNotFoundError
        ):
            return _no_file(repository, file, revision)
        if is_network(cause):
            reason = cause or type(cause).__name__
            return Failure("unreachable", f"the hub cannot be reached ({reason})")
    if isinstance(error, errors.LocalEntryNotFoundError):
        return Failure("unreachable", "the hub cannot be reached")
    name = type(error).__name__
    return Failure("refused", f"the download of {file} from {repository} failed: {name}: {error}")


def _no_file(repository: str, file: str, revision: str) -> Failure:
    return Failure("no-file", f"{repository} has no file {file} at revision {revision!r}")


def _explain_status(error: BaseException, repository: str, file: str, revision: str) -> Failure:
    from huggingface_hub import errors

    if isinstance(error, errors.EntryNotFoundError):
        return _no_file(repository, file, revision)
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if status in (401, 403):
        return Failure(
            "refused",
            f"the hub does not let you read {repository} (status {status})",
            "run `hf auth login`, or unset a token that has expired",
        )
    if status in BUSY:
        message = f"the hub is not available now (status {status}); try again"
        return Failure("busy", message, wait=_seconds(getattr(response, "headers", {})))
    return Failure("refused", f"the hub refused {file} of {repository} (status {status})")


def _seconds(headers: Mapping[str, str]) -> float:
    text = headers.get("Retry-After") or ""
    return min(float(text), _MAX_WAIT) if text.isdecimal() else _WAIT


def is_network(error: BaseException) -> bool:
    """Whether an exception is one of the network's."""
    # huggingface_hub 1 speaks through httpx, 2 through httpx2: told by name, imported by neither.
    library = type(error).__module__.partition(".")[0]
    return library.startswith("httpx") or isinstance(error, (ConnectionError, TimeoutError))


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, what caused it, what caused that, ..."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
