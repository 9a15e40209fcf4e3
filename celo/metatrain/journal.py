"""The log of a run: one JSON object a line, what was measured by a clock apart under `time`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from celo.files import write_atomically
from celo.metatrain.checkpoints import write_errors
from celo.metatrain.processes import is_leader
from celo.text import jsonable

FILE_NAME = "log.jsonl"


class Journal:
    """Collects the metrics of single iterations into lines of several."""

    def __init__(self, folder: Path, families: Sequence[str], every: int):
        self.path = folder / FILE_NAME
        self._folder = folder
        self._families = tuple(families)
        self._every = every
        self.pending: list[dict[str, Any]] = []

    def resume(self, iteration: int, pending: Sequence[Mapping[str, Any]]) -> None:
        """Drops lines after an iteration, torn ones too, and takes up what was pending then."""
        lines = [line for line in self._lines() if _iteration_of(line) <= iteration]
        text = "".join(line + "\n" for line in lines)
        self.pending = [dict(entry) for entry in pending]
        if not is_leader():
            return
        with write_errors(self._folder):
            write_atomically(self.path, lambda file: file.write(text.encode()))

    def add(
        self, iteration: int, metrics: Mapping[str, np.ndarray], time: Mapping[str, float]
    ) -> list[dict[str, Any]]:
        """Adds the iterations after `iteration`.

        Args:
          iteration: how many were done before.
          metrics: name -> array with a leading axis of iterations.
          time: of the lines that are written now.

        Returns:
          The lines written.
        """
        rows = []
        for i in range(len(metrics["loss"])):
            entry = {name: np.asarray(values[i]).tolist() for name, values in metrics.items()}
            self.pending.append(entry)
            if (iteration + i + 1) % self._every == 0:
                rows.append(self._flush(iteration + i + 1, time))
        return rows

    def finish(self, iteration: int, time: Mapping[str, float]) -> list[dict[str, Any]]:
        """Writes what is pending."""
        return [self._flush(iteration, time)] if self.pending else []

    def rows(self) -> list[dict[str, Any]]:
        """All lines."""
        return [json.loads(line) for line in self._lines()]

    def _flush(self, iteration: int, time: Mapping[str, float]) -> dict[str, Any]:
        entries, self.pending = self.pending, []

        def mean(name: str) -> Any:
            return np.mean([entry[name] for entry in entries], axis=0)

        row = {
            "iteration": iteration,
            "iterations": len(entries),
            "loss": float(mean("loss")),
            "family_loss": dict(zip(self._families, mean("family_loss").tolist(), strict=True)),
            "gradient_norm": float(mean("gradient_norm")),
            "delta": float(mean("delta")),
            "non_finite": int(sum(entry["non_finite"] for entry in entries)),
            "time": dict(time),
        }
        line = json.dumps(jsonable(row)) + "\n"
        if not is_leader():
            return row
        with write_errors(self._folder), self.path.open("a", encoding="utf-8") as file:
            file.write(line)
        return row

    def _lines(self) -> list[str]:
        """The whole lines."""
        try:
            text = self.path.read_text("utf-8")
        except FileNotFoundError:
            return []
        lines = []
        for line in text.splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                _iteration_of(line)
                lines.append(line)
        return lines


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; torn ones left out."""
    return Journal(folder, (), 1).rows()


def _iteration_of(line: str) -> int:
    return int(json.loads(line)["iteration"])
