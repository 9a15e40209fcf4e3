"""Commands that only look, beside bare Python: what a user waits for.

python benchmarks/startup.py [--repeats 15]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

CELO = str(Path(sys.executable).with_name("celo"))
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "celo --help": [CELO, "--help"],
    "celo plugins list": [CELO, "plugins", "list"],
    "celo tasks list": [CELO, "tasks", "list"],
    "celo zoo list": [CELO, "zoo", "list"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(repeats):
        for name, command in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            times[name].append(time.perf_counter() - began)
    bare = statistics.median(times["python -c pass"])
    for name, values in times.items():
        middle = statistics.median(values)
        print(f"{name:20s} {middle:.3f} s  (+{middle - bare:.3f} s, worst {max(values):.3f} s)")


if __name__ == "__main__":
    main()
