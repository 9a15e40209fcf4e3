"""Where things are kept and how they are written: whole or not at all.

Standard library only; the zoo, the data and the results all write through `write_atomically`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def cache_dir() -> Path:
    """The folder for everything that can be fetched or computed again.

    `CELO_CACHE_DIR`, else `$XDG_CACHE_HOME/celo`, else `~/.cache/celo`. Not created here.
    """
    explicit = os.environ.get("CELO_CACHE_DIR")
    if explicit:
        return Path(explicit).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "celo"


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a file whole or not at all: temporary file, fsync, rename, fsync of the folder.

    A reader, or a process that was killed at any instant, finds the old file, the new one or
    none, never a part. The temporary file always has a fresh name (locks are unreliable on
    network file systems) that starts with a dot and ends with `.part`.

    Args:
      path: destination; its folder is created if needed.
      write: called with the open temporary file.

    Raises:
      OSError: the disk is full, read-only, ...; the destination is untouched then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.parent / f".{path.name[:80]}.{secrets.token_hex(8)}.part"
    # Not mkstemp: its files are readable by their owner alone, and results are shared.
    handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    fsync_dir(path.parent)


def fsync_dir(folder: Path) -> None:
    """Makes a rename in `folder` survive a power loss, where the file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
