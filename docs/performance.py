"""Writes `docs/performance.md` from what `celo bench` measured.

    celo bench all --format json > docs/performance/all.json
    for n in 1000 10000 100000 1000000 10000000 100000000; do
      celo bench update -o celo,celo-adam --params $n --format json > docs/performance/size-$n.json
    done
    python docs/performance.py

Nothing is measured here. A test fails where the page is not what this writes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from celo.files import write_atomically
from celo.pages.document import Table
from celo.pages.rendering import markdown_block

FOLDER = Path(__file__).parent / "performance"
PAGE = Path(__file__).parent / "performance.md"

# Inputs, hidden units and used outputs of the networks that are applied to every parameter.
_NETWORKS: Mapping[str, tuple[int, ...]] = {
    "celo": (30, 4, 4, 2),
    "celo-phase1": (30, 4, 4, 2),
    "velo-s": (30, 4, 4, 2),
    "adafac-mlp-lopt": (39, 4, 4, 2),
    "celo2-base": (30, 8, 8, 2),
    "celo2": (30, 8, 8, 2),
}

_MODEL = """\
# What it costs

Written by `python docs/performance.py` from what `celo bench` measured; not edited by hand.
Measured on {machine}; copies run at {copy:.0f} GB/s and float32 matrix products at {matmul:.0f}
GFLOP/s there. Times are medians of programs that took turns in one process; trust the ratios, not
the milliseconds.

## What bounds an update

Every update reads the gradient, reads and writes parameters and state: *bytes* a parameter, which
take at least as long as a copy of as many. `optax.adam` does little else. Learned optimizers
apply a small network to every parameter besides: *flop* a parameter (multiplications and
additions of its layers alone; features, normalisation and roots come on top), which take at least
as long as a matrix product of as many. Both bounds are given in the unit of the table, an update
of Adam; the larger of the two is what no implementation on this machine can beat, and *missed by*
is how many times longer the update really takes. On a CPU it is arithmetic that bounds learned
optimizers, on a GPU it should be memory: nothing has been measured on a GPU so far."""

_UPDATES = """\
## One update

{params:,} parameters (an MLP 3072-1024(x7)-10). *temp*: temporary memory over the size of the
parameters; *state*: bytes a parameter; *compile*: seconds.

{table}

`celo2` orthogonalises matrices by five Newton-Schulz iterations, products of whole matrices with
themselves: those are its cost beyond `celo2-base`."""

_LOOP = """\
## The optimizer's share of a training step

Training steps as `celo eval` makes them: batch, gradient, update. *share* is the part of a step
that plain gradient descent does without. The dearer the gradient (larger batches, convolutions,
attention), the less the optimizer counts: look here before judging by the table above.

{tables}"""

_META = """\
## Meta-training

An outer iteration: 4 families of 8x8 MLPs, 8 pairs of particles each, windows of 50 steps of
batches of 64, estimate and step of theta; beside one product of two 2048 x 2048 matrices.

{table}"""

_SIZES = """\
## How it grows

Nanoseconds a parameter for one update, by the number of parameters (an MLP of eight equal
layers). Below some hundred thousand parameters it is the launching of kernels that one pays for.

{table}

What many leaves cost to compile, and what several devices say to each other, is in
[scale.md](scale.md)."""

_ADVICE = """\
## Measure your own

`celo bench update --task NAME`, `celo bench loop --task NAME` and `celo bench meta-train -o NAME`
do so for any task and any optimizer, a stranger's too; `--against FILE` says what has become
slower beyond noise and leaves with 1, for continuous integration; `--trace DIR` writes a profile
for TensorBoard or Perfetto."""


def page(folder: Path = FOLDER) -> str:
    """The page that belongs to the measurements of a folder."""
    found = json.loads((folder / "all.json").read_text("utf-8"))
    machine, rows = found["machine"], found["rows"]
    updates = [row for row in rows if "temp_ratio" in row]
    loops = [row for row in rows if "task" in row]
    outer = [row for row in rows if "phase" in row]
    sizes = [
        json.loads(path.read_text("utf-8"))["rows"] for path in sorted(folder.glob("size-*.json"))
    ]
    parts = [
        _MODEL.format(
            machine=machine["machine"],
            copy=machine["copy_gb_s"],
            matmul=machine["matmul_gflop_s"],
        ),
        _UPDATES.format(params=updates[0]["params"], table=_updates(updates, machine)),
        _LOOP.format(tables=_loops(loops)),
        _META.format(table=_outer(outer)),
        _SIZES.format(table=_sizes(sizes)),
        _ADVICE,
    ]
    return "\n\n".join(parts) + "\n"


def _updates(rows: Sequence[Mapping[str, Any]], machine: Mapping[str, Any]) -> str:
    adam = rows[0]["ms"] / 1e3
    cells = []
    for row in rows:
        of_bytes = row["bytes_per_param"] * row["params"] / machine["copy_gb_s"] / 1e9 / adam
        flop = _flop(row["optimizer"])
        of_flop = (flop or 0) * row["params"] / machine["matmul_gflop_s"] / 1e9 / adam
        bound = max(of_bytes, of_flop)
        cells.append(
            (
                f"`{row['optimizer']}`",
                f"{row['ms']:.1f}",
                f"{row['ratio_to_adam']:.1f}",
                f"{row['state_bytes_per_param']:.1f}",
                f"{of_bytes:.1f}",
                f"{of_flop:.1f}" if flop else "-",
                f"{row['ratio_to_adam'] / bound:.1f}",
                f"{row['temp_ratio']:.1f}",
                f"{row['compile_s']:.0f}",
            )
        )
    columns = ("optimizer", "ms", "x Adam", "state", "bytes bound", "flop bound")
    return _table((*columns, "missed by", "temp", "compile"), cells)


def _flop(name: str) -> int | None:
    widths = _NETWORKS.get(name.partition("@")[0])
    return widths and sum(2 * a * b for a, b in zip(widths[:-1], widths[1:], strict=True))


def _loops(rows: Sequence[Mapping[str, Any]]) -> str:
    tables = []
    for task in dict.fromkeys(row["task"] for row in rows):
        of_task = [row for row in rows if row["task"] == task]
        first = of_task[0]
        cells = [
            (
                f"`{row['optimizer']}`",
                f"{row['ms_per_step']:.1f}",
                f"{row['ratio_to_adam']:.2f}",
                f"{row['optimizer_share']:.0%}",
            )
            for row in of_task
        ]
        title = f"`{task}`: {first['params']:,} parameters, batches of {first['batch_size']}"
        tables.append(f"{title}\n\n{_table(('optimizer', 'ms', 'x Adam', 'share'), cells)}")
    return "\n\n".join(tables)


def _outer(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [
        (
            f"`{row['optimizer']}`",
            str(row["phase"]),
            f"{row['ms']:.0f}",
            f"{row['ratio_to_matmul']:.2f}",
            f"{row['inner_steps_per_second']:,.0f}",
            f"{row['memory_mb']:.0f}",
            f"{row['compile_s']:.0f}",
        )
        for row in rows
    ]
    columns = ("optimizer", "phase", "ms", "x product", "inner steps/s", "MB", "compile s")
    return _table(columns, cells)


def _sizes(runs: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    by_size = {rows[0]["params"]: {row["optimizer"]: row for row in rows} for rows in runs}
    names = list(dict.fromkeys(name for rows in by_size.values() for name in rows))
    cells = [
        (
            f"{size:,}",
            *(f"{rows[name]['ms'] * 1e6 / size:.2f}" if name in rows else "-" for name in names),
        )
        for size, rows in sorted(by_size.items())
    ]
    return _table(("parameters", *(f"`{name}`" for name in names)), cells)


def _table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    numeric = tuple(range(0 if columns[0] == "parameters" else 1, len(columns)))
    return markdown_block(Table(tuple(columns), tuple(map(tuple, cells)), numeric=numeric))


def main() -> None:
    text = page()
    write_atomically(PAGE, lambda file: file.write(text.encode()))


if __name__ == "__main__":
    main()
