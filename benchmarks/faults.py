"""Everything that may go wrong around results and weights, and what is lost by it: nothing.

    python benchmarks/faults.py [--kills 20] [--worker-kills 10] [--weights 10000] [--seed 0]

(0 leaves a part out.)

- One evaluation without interruption, then the same one under SIGKILL at random moments, resumed
  each time by the same command. At the end the two reports, costs and provenance aside, must be the
  same bytes, and no cell that was finished before a kill may have been written again.
- The same with two workers on one folder, of which one is killed each time, now and then the
  command that started them.
- The same for a small evaluation whose k-th write fails, for every k: disk full, I/O error, power
  loss between the rename and the folder's way to the disk.
- Corrupted files of weights, by the strategies of `tests/zoo/test_hostile.py`.

Every command runs without --debug. Leaves with 1 if a finished cell was lost or computed again,
a corrupted file was accepted, or a traceback was shown.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import inspect
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `tests`, wherever this runs

from celo.errors import WeightsError
from celo.evaluation.store import Unreadable, read_cell
from tests.evaluation import disk

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
      kills: processes killed before the last cell was there.
      lost: finished cells that were missing afterwards.
      rewritten: finished cells that were computed again.
      identical: the final report equals the uninterrupted one.
      cells: number of cells of the run.
      finished_at_kill: cells that were finished at each kill.
      tracebacks: shown by the commands.
    """

    kills: int
    lost: int
    rewritten: int
    identical: bool
    cells: int
    finished_at_kill: tuple[int, ...]
    tracebacks: int


def run(folder: Path, kills: int, seed: int, workers: int = 1) -> Result:
    """Kills an evaluation `kills` times in an empty folder.

    Args:
      folder: where it runs.
      kills: how often.
      seed: of the moments.
      workers: of the evaluation; with several it is mostly one of them that is killed.
    """
    log = folder / "stderr"
    with open(log, "wb") as stderr:
        result = _run(folder, kills, seed, workers, stderr)
    return replace(result, tracebacks=log.read_bytes().count(b"Traceback"))


def _run(folder: Path, kills: int, seed: int, workers: int, stderr: BinaryIO) -> Result:
    _evaluate(folder / "warm", stderr)  # fills the compilation cache
    _evaluate(folder / "whole", stderr)
    cells = len(finished(folder / "whole"))
    chance = random.Random(seed)
    target, compared = folder / "killed", [folder / "killed"]
    lost = rewritten = 0
    at_kill: list[int] = []
    while len(at_kill) < kills:
        before = finished(target)
        if len(before) == cells:  # nothing is left to interrupt: go on in another folder
            target = folder / f"killed-{len(compared)}"
            compared.append(target)
            before = {}
        command = [CELO, *EVALUATION, "--workers", str(workers), "--output", str(target)]
        process = subprocess.Popen(command, stderr=stderr)
        while process.poll() is None and len(at_kill) < kills:
            _wait_until(
                process, target, chance.randrange(min(len(written(target)), cells - 1), cells)
            )
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=chance.uniform(0.0, 0.5))
            victim = process.pid
            if workers > 1 and chance.random() < 0.8:
                victim = chance.choice(_children(process.pid) or [process.pid])
            now = len(finished(target))
            if process.poll() is None and now < cells:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
                    at_kill.append(now)
                if victim == process.pid:
                    break
        process.wait()
        after = finished(target)
        lost += len(before.keys() - after.keys())
        rewritten += _finished_again(before, after)
    _evaluate(target, stderr)
    expected = _report(folder / "whole")
    identical = all(_report(path) == expected for path in compared)
    return Result(len(at_kill), lost, rewritten, identical, cells, tuple(at_kill), 0)


def _children(process: int) -> list[int]:
    """The workers of an evaluation."""
    done = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True
    )
    return [int(line) for line in done.stdout.split()]


def _wait_until(process: subprocess.Popen[bytes], output: Path, cells: int) -> None:
    """Waits until a run holds more than `cells` cells, or has got somewhere without any."""
    began = time.monotonic()
    while process.poll() is None and len(written(output)) <= cells:
        if cells == 0 and time.monotonic() - began > 2:
            return
        time.sleep(0.003)


def _evaluate(output: Path, stderr: BinaryIO) -> None:
    subprocess.run([CELO, *EVALUATION, "--output", str(output)], check=True, stderr=stderr)


def _report(output: Path) -> bytes:
    done = subprocess.run(
        [CELO, "report", str(output), "--format", "json", "--reference", "adam:lr=1e-3"],
        check=True,
        capture_output=True,
    )
    value = json.loads(done.stdout)
    del value["cost"], value["provenance"]
    return json.dumps(value, sort_keys=True).encode()


def written(output: Path) -> dict[Path, tuple[int, int]]:
    """The cells in a run folder and, of each, what changes when it is written again."""
    stats = {path: path.stat() for path in output.glob("cells/*/*/*.npz")}
    return {path: (stat.st_ino, stat.st_mtime_ns) for path, stat in stats.items()}


def finished(output: Path) -> dict[Path, tuple[int, int]]:
    """The same without those that failed, which are computed again."""
    return {path: what for path, what in written(output).items() if _is_finished(path)}


def _is_finished(path: Path) -> bool:
    try:
        return read_cell(path).status != "failed"
    except (Unreadable, FileNotFoundError):
        return False


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


FAULTS = {
    **{
        f"{operation}: {errno.errorcode[number]}": disk.Fault(operation, number)
        for operation in ("open", "fsync", "replace")
        for number in (errno.ENOSPC, errno.EIO)
    },
    **{
        f"power loss, {left} file": disk.Fault("replace", left=left)
        for left in ("old", "new", "empty", "torn")
    },
}


class CommandLine:
    """Runs the small evaluation by `celo eval`, in this process, and counts tracebacks."""

    def __init__(self) -> None:
        self.tracebacks = 0

    def __call__(self, folder: Path, *, fresh: bool = False) -> str | None:
        from celo.cli.main import main

        settings = disk.SETTINGS
        arguments = ["eval", "-o", disk.OPTIMIZERS, "--output", str(folder), "--format", "quiet"]
        arguments += ["--task", *settings["tasks"], "--steps", str(settings["steps"])]
        arguments += ["--seeds", ",".join(map(str, settings["seeds"])), "--reference", "none"]
        arguments += ["--eval-batches", "1", "--last-eval-batches", "1"]
        said = io.StringIO()
        code: Any = None
        with contextlib.redirect_stderr(said):
            try:
                main([*arguments, *(["--fresh"] if fresh else [])])
            except SystemExit as leaving:
                code = leaving.code
        text = said.getvalue()
        self.tracebacks += "Traceback" in text or "defect of celo" in text
        return text or f"exit code {code}" if code else None


@dataclass
class Weights:
    """What became of corrupted files of weights.

    Attributes:
      inputs: different files that were read.
      refused: with one sentence.
      accepted: strategies with a file that was read as the original, or not refused as it should.
      tracebacks: exceptions that are no refusal.
    """

    inputs: int = 0
    refused: int = 0
    accepted: int = 0
    tracebacks: int = 0


def corrupt_weights(folder: Path, inputs: int) -> Weights:
    """Reads at least `inputs` different corrupted files."""
    # Some kinds of damage are few (truncations): the rest makes up for them.
    os.environ["CELO_CORRUPTIONS"] = str(inputs // 6)
    from tests.zoo import test_hostile as hostile

    result, seen, real = Weights(), set(), hostile.read_weights

    def counted(path: Path) -> Any:
        seen.add(hashlib.sha256(path.read_bytes()).digest())
        try:
            return real(path)
        except WeightsError:
            result.refused += 1
            raise
        except Exception:
            result.tracebacks += 1
            raise

    attacks = [f for name, f in vars(hostile).items() if name.startswith("test_any_")]
    # Loss is counted here, not time: the machine may be busy.
    with mock.patch.multiple(hostile, read_weights=counted, SECONDS=600.0):
        for attack in attacks:
            assert "path" in inspect.signature(attack).parameters
            print(f"  {attack.__name__.removeprefix('test_')}", file=sys.stderr)
            try:
                attack(path=folder / "theta")
            except Exception as error:
                result.accepted += 1
                print(f"{attack.__name__}: {error!r}", file=sys.stderr)
    result.inputs = len(seen)
    return result


@dataclass
class Verdict:
    """What must all be zero."""

    lost: int = 0
    repeated: int = 0
    accepted: int = 0
    tracebacks: int = 0

    def shown(self) -> str:
        """One line each."""
        counts = {
            "lost cells": self.lost,
            "finished cells computed again": self.repeated,
            "accepted bad files": self.accepted,
            "tracebacks without --debug": self.tracebacks,
        }
        return "\n".join(f"{label:36}{count:8}" for label, count in counts.items())


def _row(label: str, count: int, note: str) -> None:
    print(f"{label:36}{count:8}   {note}", flush=True)


def fail_writes(folder: Path, verdict: Verdict) -> None:
    """Lets every write of the small evaluation fail in every way."""
    clean = disk.made_up(folder / "never")
    for label, fault in FAULTS.items():
        evaluate = CommandLine()
        swept = disk.sweep(clean, folder / label.replace(" ", "-"), fault, evaluate)
        _row(f"writes, {label}", swept.places, f"{swept.refused} stopped the command")
        verdict.lost += swept.lost
        verdict.repeated += swept.repeated
        verdict.tracebacks += evaluate.tracebacks


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--worker-kills", type=int, default=10, help="with --workers 2")
    parser.add_argument("--weights", type=int, default=10_000, help="corrupted files of weights")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    verdict, whole = Verdict(), True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fail_writes(folder, verdict)
        if arguments.weights:
            weights = corrupt_weights(folder, arguments.weights)
            _row("corrupted weights", weights.inputs, f"{weights.refused} readings refused")
            verdict.accepted += weights.accepted
            verdict.tracebacks += weights.tracebacks
            whole &= weights.inputs >= arguments.weights
        for label, kills, workers in (
            ("SIGKILL", arguments.kills, 1),
            ("SIGKILL, two workers", arguments.worker_kills, 2),
        ):
            if kills:
                part = folder / f"kills-{workers}"
                part.mkdir()
                killed = run(part, kills, arguments.seed, workers)
                same = "identical" if killed.identical else "DIFFERENT"
                _row(label, killed.kills, f"report {same}; cells at each, of {killed.cells}:")
                print(f"  {' '.join(map(str, killed.finished_at_kill))}")
                verdict.lost += killed.lost
                verdict.repeated += killed.rewritten
                verdict.tracebacks += killed.tracebacks
                whole &= killed.identical
    print(verdict.shown())
    return 0 if whole and verdict == Verdict() else 1


if __name__ == "__main__":
    sys.exit(main())
