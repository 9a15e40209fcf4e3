"""Kills an evaluation with SIGKILL at random moments and proves that nothing finished was lost.

    python benchmarks/faults.py [--kills 20] [--seed 0]

Runs one evaluation without interruption, then the same one under random kills, resumed each time by
the same command. At the end the two reports, costs and provenance aside, must be the same bytes,
and no cell that was finished before a kill may have been written again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

CELO = str(Path(sys.executable).with_name("celo"))
EVALUATION = (
    *("eval", "--optimizers", "adam:lr=1e-3,sgdm,sgd:lr=0.1", "--reference", "adam:lr=1e-3"),
    *("--task", "Digits_MLP_32", "--task", "Digits_AE_32x8x32"),
    *("--steps", "50", "--seeds", "0,1,2,3", "--format", "quiet"),
)


@dataclass(frozen=True)
class Result:
    """What became of the kills.

    Attributes:
      kills: processes killed before they were done.
      lost: finished cells that were missing afterwards.
      rewritten: finished cells that were computed again.
      identical: the final report equals the uninterrupted one.
      cells: number of cells of the run.
      finished_at_kill: cells that were finished at each kill.
    """

    kills: int
    lost: int
    rewritten: int
    identical: bool
    cells: int
    finished_at_kill: tuple[int, ...]


def run(folder: Path, kills: int, seed: int) -> Result:
    """Kills an evaluation `kills` times in an empty folder."""
    _evaluate(folder / "warm")  # fills the compilation cache
    _evaluate(folder / "whole")
    cells = len(_written(folder / "whole"))
    chance = random.Random(seed)
    target, compared = folder / "killed", [folder / "killed"]
    lost = rewritten = 0
    finished: list[int] = []
    while len(finished) < kills:
        before = _written(target)
        if len(before) == cells:  # nothing is left to interrupt: go on in another folder
            target = folder / f"killed-{len(compared)}"
            compared.append(target)
            before = {}
        process = subprocess.Popen([CELO, *EVALUATION, "--output", str(target)])
        _wait_until(process, target, chance.randrange(len(before), cells))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=chance.uniform(0.0, 0.5))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
            finished.append(len(_written(target)))
        after = _written(target)
        lost += len(before.keys() - after.keys())
        rewritten += _finished_again(before, after)
    _evaluate(target)
    expected = _report(folder / "whole")
    identical = all(_report(path) == expected for path in compared)
    return Result(len(finished), lost, rewritten, identical, cells, tuple(finished))


def _wait_until(process: subprocess.Popen[bytes], output: Path, cells: int) -> None:
    """Waits until a run holds more than `cells` cells, or has got somewhere without any."""
    began = time.monotonic()
    while process.poll() is None and len(_written(output)) <= cells:
        if cells == 0 and time.monotonic() - began > 2:
            return
        time.sleep(0.003)


def _evaluate(output: Path) -> None:
    subprocess.run([CELO, *EVALUATION, "--output", str(output)], check=True)


def _report(output: Path) -> bytes:
    done = subprocess.run(
        [CELO, "report", str(output), "--format", "json", "--reference", "adam:lr=1e-3"],
        check=True,
        capture_output=True,
    )
    value = json.loads(done.stdout)
    del value["cost"], value["provenance"]
    return json.dumps(value, sort_keys=True).encode()


def _written(output: Path) -> dict[Path, tuple[int, int]]:
    stats = {path: path.stat() for path in output.glob("cells/*/*/*.npz")}
    return {path: (stat.st_ino, stat.st_mtime_ns) for path, stat in stats.items()}


def _finished_again(before: dict[Path, tuple[int, int]], after: dict[Path, tuple[int, int]]) -> int:
    """Cells of whole blocks that were written a second time (a torn block is computed again)."""
    blocks: dict[tuple[Path, bool], list[Path]] = {}
    for path in before:
        # Blocks of this evaluation: one entry, one task, seeds 0-2 or 3.
        blocks.setdefault((path.parent, "seed3-" in path.name), []).append(path)
    again = 0
    for (folder, third), paths in blocks.items():
        whole = (15 if folder.name == "sgdm" else 1) * (1 if third else 3)
        if len(paths) == whole:
            again += sum(after.get(path) != before[path] for path in paths)
    return again


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = run(Path(folder), arguments.kills, arguments.seed)
    print(
        f"kills {result.kills}  cells {result.cells}  lost {result.lost}  "
        f"finished blocks computed again {result.rewritten}  "
        f"report identical {'yes' if result.identical else 'NO'}"
    )
    print(f"finished cells at each moment: {' '.join(map(str, result.finished_at_kill))}")
    return 0 if result.identical and result.lost == result.rewritten == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
