"""Trains on a 20 GB file of tokens and prints how much memory that took; run as a script.

    python -m tests.evaluation.huge_set FOLDER

The file has holes: only rows that the first steps will draw are written.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from celo.data.datasets import ArrayDatasets
from celo.data.mapped import open_mapped
from celo.data.sampling import batch_indices
from celo.evaluation import loop
from celo.evaluation.batches import BATCHES, open_batches, run_key
from celo.evaluation.cells import Schedule
from celo.optim import from_optax
from celo.protocol import SplitTable, Task

ROWS, WIDTH, BATCH = 310_000_000, 33, 128
SCHEDULE = Schedule(steps=400, eval_every=10, eval_batches=5, last_eval_batches=10)
WRITTEN = 3  # steps whose rows are not zero


class _Sums(Task):
    """Its loss is the mean of a batch's tokens, whatever its only parameter is."""

    name = "Sums"  # pyright: ignore[reportAssignmentType]

    def __init__(self, array: np.ndarray):
        self.datasets = ArrayDatasets(
            lambda split: SplitTable({"tokens": array}, BATCH, lambda rows: rows),
            batch_size=BATCH,
            abstract_batch={"tokens": jax.ShapeDtypeStruct((BATCH, WIDTH), jnp.uint16)},
            extra_info={},
        )

    def init(self, key):
        return {"w": jnp.zeros(())}

    def loss(self, params, key, data):
        return data["tokens"].astype(jnp.float32).mean() + 0 * params["w"]


def main(folder: Path) -> None:
    path = folder / "tokens.npy"
    with path.open("wb") as file:
        header = {"descr": "<u2", "fortran_order": False, "shape": (ROWS, WIDTH)}
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        file.truncate(start + ROWS * WIDTH * 2)
        key = jax.random.fold_in(run_key("Sums", 0), BATCHES)
        drawn = np.asarray(batch_indices(key, 0, WRITTEN, rows=ROWS, batch_size=BATCH))
        for step, rows in enumerate(drawn):
            for row in rows:
                file.seek(start + int(row) * WIDTH * 2)
                file.write(np.full(WIDTH, 100 + step, "<u2").tobytes())
    stat = path.stat()
    task = _Sums(open_mapped(path))
    begun = loop.prepare(task, open_batches(task), (0,), SCHEDULE)
    assert begun.batches.host is not None
    sgd = from_optax(optax.sgd(0.1), name="sgd")
    program = loop.compile_program(begun, lambda theta, hypers: sgd, None, {}, "vmap")
    runs, first, losses = program.start(), 0, []
    while first < program.points:
        count = min(program.window - first % program.window, program.points - first)
        runs, found = program.advance(runs, first, count)
        losses += np.asarray(found.training)[0, 0, :count].ravel().tolist()
        first += count
    iterator = task.datasets.split("test")
    batches = [next(iterator)["tokens"] for _ in range(200)]
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    result = {
        "apparent_bytes": stat.st_size,
        "stored_bytes": stat.st_blocks * 512,
        "peak_bytes": int(peak[1]) * 1024,
        "losses": losses[: WRITTEN + 2],
        "steps": len(losses),
        "batch": list(batches[0].shape),
    }
    print(json.dumps(result))
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
