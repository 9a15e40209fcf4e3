"""An environment of its own, in which our wheel and the packages of strangers are installed."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Environment:
    """Where things are; made by the fixture `installed`.

    Attributes:
      home: folder of everything.
    """

    home: Path

    @property
    def bin(self) -> Path:
        """Folder of the executables."""
        return self.home / "environment" / "bin"

    @property
    def wheel(self) -> Path:
        return next(self.home.glob("celo-*.whl"))

    @property
    def lion(self) -> Path:
        """A copy of `plugins/example`, installed from there."""
        return self.home / "lion"

    @property
    def generated(self) -> Path:
        """What `celo plugins new` wrote, installed unedited."""
        return self.home / "generated"

    def run(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Runs a command of the environment, without the checkout on its path.

        Args:
          *arguments: the executable's name and its arguments.
          cwd: folder to run it in.
        """
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        return subprocess.run(
            [self.bin / arguments[0], *arguments[1:]],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
