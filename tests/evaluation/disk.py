"""A disk that fails at the k-th operation, and what must be true afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from celo import files
from celo.evaluation import runner
from celo.evaluation.cells import Cell
from celo.evaluation.config import EvalConfig
from celo.evaluation.plan import make_plan
from celo.evaluation.recording import BlockTimes, Computed, Machine, finished_cells
from celo.evaluation.store import Unreadable, read_cell

OPTIMIZERS = "sgd:lr=0.1,sgdm:lr=0.1"
SETTINGS: dict[str, Any] = {
    "tasks": ("Digits_MLP_32",),
    "steps": 10,
    "seeds": (0, 1, 3),
    "reference": None,
    "eval_batches": 1,
    "last_eval_batches": 1,
}
_REAL = {name: getattr(os, name) for name in ("open", "fsync", "replace", "unlink")}


class PowerLoss(BaseException):
    """The machine is off: nothing behind this is executed."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong.

    Attributes:
      operation: "open" (to write), "fsync" or "replace".
      error: number of the OSError; None for a power loss.
      left: after a power loss, which comes behind the rename and before the folder is on disk: the
        "old" name, the "new" one, or the new one for a file that is "empty" or "torn".
    """

    operation: str
    error: int | None = None
    left: str = "new"


class Disk:
    """Stands for the calls of `os` by which files are written."""

    def __init__(self, fault: Fault):
        self.calls, self.fail_at, self.off = 0, -1, False
        self._fault = fault

    @contextlib.contextmanager
    def mounted(self) -> Iterator[None]:
        def call(name: str) -> Callable[..., Any]:
            return lambda *args, **kwargs: self._call(name, args, kwargs)

        with mock.patch.multiple(files.os, **{name: call(name) for name in _REAL}):
            yield

    def _call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # `os` is everybody's: opening for reading is none of ours.
        if name == "open" and not args[1] & os.O_CREAT:
            return _REAL[name](*args, **kwargs)
        if self.off:
            raise PowerLoss
        if name == self._fault.operation:
            self.calls += 1
            if self.calls - 1 == self.fail_at:
                self._fail(*args)
        return _REAL[name](*args, **kwargs)

    def _fail(self, *args: Any) -> None:
        fault = self._fault
        if fault.error is not None:
            raise OSError(fault.error, os.strerror(fault.error))
        source, target = map(Path, args)
        content = source.read_bytes()
        if fault.left != "old":
            _REAL["replace"](source, target)
        if fault.left in ("empty", "torn"):
            target.write_bytes(content[: len(content) // 2] if fault.left == "torn" else b"")
        self.off = True
        raise PowerLoss


@dataclass
class Sweep:
    """What came of a fault at every place.

    Attributes:
      places: where it struck.
      refused: of these, where the evaluation said so and stopped.
      lost: finished cells that were not there, or not the same, afterwards.
      repeated: finished cells, of whole blocks, that were computed again.
      messages: what was said.
    """

    places: int = 0
    refused: int = 0
    lost: int = 0
    repeated: int = 0
    messages: tuple[str, ...] = ()


Evaluate = Callable[..., str | None]
"""(folder, fresh=False) -> what went wrong in words, or None; a power loss is let through."""


class Known:
    """A computer that knows the results, so that a whole evaluation takes no time."""

    machine = Machine("cpu", "cpu", "platform default")

    def __init__(self, cells: Sequence[Cell]):
        self._cells = {cell.key.digest: cell for cell in cells}
        self.computed: list[str] = []

    def check_weights(self, entries: Any) -> None: ...
    def close(self) -> None: ...

    def compute(self, block: Any, listener: Any) -> list[Cell]:
        keys = block.keys(block.batching(self.machine.platform))
        self.computed += [key.digest for key in keys]
        return [self._cells[key.digest] for key in keys]

    @contextlib.contextmanager
    def instead(self) -> Iterator[None]:
        """Computes in the place of JAX."""
        with (
            mock.patch.object(runner, "_computer", lambda plan, limits: self),
            mock.patch.object(runner, "_computers", lambda plan, limits, count: [self] * count),
            mock.patch.object(runner, "finished_cells", lambda block, machine, cells: cells),
        ):
            yield


def made_up(folder: Path) -> list[Cell]:
    """The cells of the evaluation as if it had run."""
    config = EvalConfig(optimizers=(OPTIMIZERS,), output=folder, **SETTINGS)
    random, cells = np.random.default_rng(0), []
    for block in make_plan(config).blocks:
        runs = (len(block.seeds), len(block.entry.members))
        computed = Computed(
            evaluation=random.random((*runs, 2, 3, 2), np.float32),
            training=random.random((*runs, config.schedule(0).steps + 1), np.float32),
            times=BlockTimes(1.0, 2.0),
            temp_bytes=0,
            state_bytes_per_parameter=4.0,
            peak_memory_bytes=0,
        )
        cells += finished_cells(block, Known.machine, computed)
    return cells


def sweep(clean: Sequence[Cell], folder: Path, fault: Fault, evaluate: Evaluate) -> Sweep:
    """Lets a fault strike an evaluation at every place, one after the other, and goes on from it.

    Args:
      clean: the cells that an evaluation without faults has.
      folder: empty; runs are made in it.
      fault: what goes wrong.
      evaluate: runs `OPTIMIZERS` with `SETTINGS`.
    """
    known, disk, result, said = Known(clean), Disk(fault), Sweep(), []
    with known.instead(), disk.mounted():
        assert evaluate(folder / "counted") is None
        result.places = disk.calls
        for k in range(result.places):
            run = folder / str(k)
            disk.calls, disk.fail_at = 0, k
            message = None
            try:
                message = evaluate(run)
            except PowerLoss:
                result.refused += 1
            disk.fail_at, disk.off = -1, False
            if message is not None:
                result.refused += 1
                said.append(message)
                assert not list(run.rglob("*.part"))
            before = finished(run, clean)
            known.computed.clear()
            if evaluate(run) is not None:
                assert not before, "what is finished is there for the same command"
                assert evaluate(run, fresh=True) is None
            blocks: dict[tuple[Any, ...], set[str]] = {}
            for cell in clean:
                place = (cell.key.entry, cell.key.block_seeds)
                blocks.setdefault(place, set()).add(cell.key.digest)
            whole = {digest for block in blocks.values() if block <= before for digest in block}
            result.lost += len(clean) - len(finished(run, clean))
            result.repeated += len(whole & set(known.computed))
            shutil.rmtree(run)
    result.messages = tuple(said)
    return result


def finished(folder: Path, clean: Sequence[Cell]) -> set[str]:
    """Digests of the cells that are on disk as they should be."""
    known = {cell.key.digest: cell for cell in clean}
    found = set()
    for path in folder.glob("cells/*/*/*.npz"):
        with contextlib.suppress(Unreadable):
            cell = read_cell(path)
            for name, values in known[cell.key.digest].curves.items():
                np.testing.assert_array_equal(cell.curves[name], values)
            found.add(cell.key.digest)
    return found
