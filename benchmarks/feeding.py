"""Tables that stay on the host against the same tables on the device: what feeding them costs.

    CELO_DATA_DIR=... python benchmarks/feeding.py [--task NAME] [--steps 500] [--repeats 5]

Runs the same block (adam, one seed) with its rows on the device and fed from the host, by turns in
one process; prints medians and the ratio of pairs. Results are compared bit for bit.
"""

from __future__ import annotations

import argparse
import statistics
import time

import jax
import numpy as np
import optax

from celo import registry
from celo.data.selection import DataSelection
from celo.evaluation import loop
from celo.evaluation.batches import open_batches
from celo.evaluation.cells import Schedule
from celo.evaluation.compilation import enable_compilation_cache
from celo.optim import from_optax
from celo.protocol import Task
from celo.tasks import build_task


def compiled(task: Task, steps: int, device_bytes: int) -> loop.Program:
    start = loop.prepare(task, open_batches(task, device_bytes), (0,), Schedule(steps=steps))
    adam = from_optax(optax.adam(1e-3), name="adam")
    return loop.compile_program(start, lambda theta, hypers: adam, None, {}, "vmap")


def run(program: loop.Program) -> tuple[float, np.ndarray]:
    """Seconds of one run, and its evaluated losses; one call is queued behind the one in hand."""
    began = time.perf_counter()
    runs, first, losses = program.start(), 0, []
    while first < program.points:
        count = min(program.window - first % program.window, program.points - first)
        runs, found = program.advance(runs, first, count)
        losses.append(found.evaluation[:, :, :count])
        first += count
    whole = np.concatenate(jax.device_get(losses), axis=2)
    return time.perf_counter() - began, whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="ImageMLP_FashionMnist_Relu128x128")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    enable_compilation_cache()
    task = build_task(registry.task(arguments.task).record, DataSelection())
    here, fed = (compiled(task, arguments.steps, size) for size in (2**40, 0))
    np.testing.assert_array_equal(run(here)[1], run(fed)[1])  # compiled and warm, and the same
    pairs = [(run(here)[0], run(fed)[0]) for _ in range(arguments.repeats)]
    for name, seconds in zip(
        ("on the device", "fed by the host"), zip(*pairs, strict=True), strict=True
    ):
        print(f"{name:<16} {1e3 * statistics.median(seconds) / arguments.steps:.3f} ms a step")
    ratios = [theirs / ours for ours, theirs in pairs]
    spread = f"pairs {min(ratios):.3f} to {max(ratios):.3f}"
    print(f"ratio            {statistics.median(ratios):.3f}  ({spread})")


if __name__ == "__main__":
    main()
