"""The evaluation loop: how long a run takes after compilation, and what the host adds to it.

    CELO_DATA_DIR=... python benchmarks/loop.py [--task NAME] [--optimizer TEXT] [--steps 500]

Runs a block through the runner (progress, adaptive calls, recording), and the same compiled program
in a bare loop, in turn, several times; prints medians and the ratio of pairs.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp

from celo import registry
from celo.data.selection import DataSelection
from celo.evaluation import loop
from celo.evaluation.batches import open_batches
from celo.evaluation.compilation import enable_compilation_cache
from celo.evaluation.computing import drive
from celo.evaluation.config import EvalConfig
from celo.evaluation.factories import optimizer_factory, traced_members
from celo.evaluation.plan import make_plan
from celo.evaluation.runner import SilentObserver
from celo.tasks import build_task


def bare(program: loop.Program) -> None:
    runs, first, losses = program.start(), 0, None
    while first < program.points:
        count = min(program.window - first % program.window, program.points - first)
        runs, losses = program.advance(runs, first, count)
        first += count
    jax.block_until_ready(losses)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="ImageMLP_FashionMnist_Relu128x128")
    parser.add_argument("--optimizer", default="celo")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    enable_compilation_cache()
    seeds = tuple(int(seed) for seed in arguments.seeds.split(","))
    with tempfile.TemporaryDirectory() as folder:
        plan = make_plan(
            EvalConfig(
                optimizers=(arguments.optimizer,),
                tasks=(arguments.task,),
                steps=arguments.steps,
                seeds=seeds,
                reference=None,
                output=Path(folder) / "run",
            )
        )
    block = plan.blocks[0]
    task = build_task(registry.task(arguments.task).record, DataSelection())
    batches = open_batches(task)
    began = time.perf_counter()
    start = loop.prepare(task, batches, block.seeds, block.schedule)
    make_optimizer, theta = optimizer_factory(block.entry)
    members = traced_members(block.entry)
    batching = block.batching(jax.default_backend())
    program = loop.compile_program(start, make_optimizer, theta, members, batching)
    jnp.zeros(()).block_until_ready()
    print(f"{arguments.task}, {arguments.optimizer}, {arguments.steps} steps, seeds {seeds}")
    print(f"start-up and compilation {time.perf_counter() - began:.1f} s")
    bare(program)
    driven, plain = [], []
    for _ in range(arguments.repeats):
        began = time.perf_counter()
        drive(program, block, SilentObserver())
        middle = time.perf_counter()
        bare(program)
        driven.append(middle - began)
        plain.append(time.perf_counter() - middle)
    ratios = [a / b for a, b in zip(driven, plain, strict=True)]
    print(f"through the runner {statistics.median(driven):.2f} s (median of {len(driven)})")
    print(f"bare loop          {statistics.median(plain):.2f} s")
    print(
        f"ratio              {statistics.median(ratios):.3f} "
        f"({min(ratios):.3f} to {max(ratios):.3f})"
    )


if __name__ == "__main__":
    main()
