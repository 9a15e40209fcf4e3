"""Published weights beside Adam at three fixed rates, on published tasks.

    CELO_DATA_DIR=... CELO_ZOO_PATH=... python benchmarks/fidelity.py [--output DIR]

Needs MNIST and Fashion-MNIST (`celo data list`) and the weights of `celo` and `celo-adam`;
resumable like every evaluation. Prints the report as markdown; `docs/fidelity.md` holds one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

CELO = str(Path(sys.executable).with_name("celo"))
OPTIMIZERS = "celo,celo-adam,adam:lr=1e-3,adam:lr=3e-3,adam:lr=1e-2"
TASKS = ("FastVelo_mnist", "FastVelo_fashion_mnist", "ImageMLP_FashionMnist_Relu128x128")
REFERENCE = "adam:lr=3e-3"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", default="celo-runs/fidelity")
    parser.add_argument("--steps", default="2000")
    arguments = parser.parse_args()
    run = [CELO, "eval", "--optimizers", OPTIMIZERS, "--reference", REFERENCE]
    run += ["--steps", arguments.steps, "--output", arguments.output, "--format", "quiet"]
    for task in TASKS:
        run += ["--task", task]
    subprocess.run(run, check=True)
    report = [CELO, "report", arguments.output, "--format", "markdown", "--reference", REFERENCE]
    subprocess.run(report, check=True)


if __name__ == "__main__":
    main()
