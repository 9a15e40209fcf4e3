"""The README's first command: cold (nothing cached), and again (nothing to compute).

CELO_ZOO_PATH=... python benchmarks/quickstart.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CELO = str(Path(sys.executable).with_name("celo"))
COMMAND = (CELO, "eval", "--optimizers", "celo,adam", "--suite", "quickstart")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "CELO_CACHE_DIR": f"{folder}/cache"}
        for name in ("cold", "again", "again"):
            began = time.perf_counter()
            done = subprocess.run(
                [*COMMAND, "--output", f"{folder}/run"],
                env=environment,
                check=True,
                capture_output=True,
                text=True,
            )
            print(f"{name}: {time.perf_counter() - began:.1f} s")
            if name == "cold":
                print(done.stderr + done.stdout)


if __name__ == "__main__":
    main()
