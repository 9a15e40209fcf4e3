"""Runs the real `celo` command in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CELO = str(Path(sys.executable).with_name("celo"))


def celo(
    *arguments: str, cwd: Path | None = None, timeout: float = 300, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs `celo ARGUMENTS` and returns what it printed.

    Args:
      *arguments: of the command.
      cwd: folder to run it in.
      timeout: seconds.
      **environment: added to this process's.
    """
    return subprocess.run(
        [CELO, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def children(process: int) -> list[int]:
    """Processes that it has started."""
    done = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True
    )
    return [int(line) for line in done.stdout.split()]


def runs(process: int) -> bool:
    """Whether it does; one that nobody has asked about its end does not."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True)
    return done.stdout.strip()[:1] not in ("", "Z")
