"""What an update costs: a small CSV file that `benchmarks/update.py --write` keeps.

One row an optimizer and device; a measurement replaces the row of the same two.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable
from pathlib import Path

from celo.errors import UsageError
from celo.files import write_atomically


@dataclasses.dataclass(frozen=True)
class Cost:
    """One optimizer on one device.

    Attributes:
      optimizer: its name.
      device: "cpu", "gpu" or "tpu".
      adam_ratio: time of an update over that of `optax.adam`, measured side by side.
      temp_bytes_per_parameter: memory that the compiled update needs besides state and gradients.
      compile_seconds: of an update of a tree of 100 leaves.
      parameters: number of them where time and memory were measured.
      machine: one line: processor, number of cores, versions.
      date: as 2026-01-31.
    """

    optimizer: str
    device: str
    adam_ratio: float
    temp_bytes_per_parameter: float
    compile_seconds: float
    parameters: int
    machine: str
    date: str


_COLUMNS = {field.name: field.type for field in dataclasses.fields(Cost)}
_READERS = {"str": str, "float": float, "int": int}


def read_costs(path: Path) -> tuple[Cost, ...]:
    """All rows of a file; none where there is no file.

    Raises:
      UsageError: it is not such a file.
    """
    if not path.exists():
        return ()
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if rows.fieldnames != list(_COLUMNS):
            raise UsageError(
                f"{path} has the columns {rows.fieldnames}, expected {list(_COLUMNS)}",
                hint="benchmarks/update.py --write makes a new one where there is none",
            )
        readers = {name: _READERS[str(kind)] for name, kind in _COLUMNS.items()}
        return tuple(
            Cost(**{name: read(row[name]) for name, read in readers.items()}) for row in rows
        )


def write_costs(path: Path, measured: Iterable[Cost]) -> None:
    """Adds measurements to a file, in the order of names; older ones of the same two go.

    Args:
      path: of the file, which need not exist.
      measured: what is new.
    """
    kept = {(cost.optimizer, cost.device): cost for cost in (*read_costs(path), *measured)}
    text = io.StringIO()
    rows = csv.DictWriter(text, list(_COLUMNS), lineterminator="\n")
    rows.writeheader()
    rows.writerows(dataclasses.asdict(cost) for _, cost in sorted(kept.items()))
    write_atomically(path, lambda file: file.write(text.getvalue().encode()))
