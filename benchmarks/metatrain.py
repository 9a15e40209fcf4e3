"""How long an outer iteration takes, beside one 2048x2048x2048 matrix product in the same process.

    CELO_DATA_DIR=... python benchmarks/metatrain.py [--phase 1] [--repeats 20]

Celo, four families of 8x8 MLPs, 8 particles at both signs, windows of 50 steps of batches of 64:
3,200 inner steps. A set that is missing is stood for by the rows of one that is there. The two are
measured in turn, so that a busy machine slows both; the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time

import jax
import jax.numpy as jnp

from celo.metatrain.config import StageConfig
from celo.metatrain.stage import compile_stage, initial_theta, open_stage

FAMILIES = 4
ITERATIONS = 5  # of one call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plugin", default="celo")
    parser.add_argument("--phase", type=int, default=1)
    parser.add_argument("--particles", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    stage = open_stage(
        StageConfig(arguments.plugin, arguments.phase, particles=arguments.particles)
    )
    there = stage.tasks
    tasks = tuple(there[i % len(there)] for i in range(FAMILIES))
    stage = dataclasses.replace(stage, tasks=tasks)
    program = compile_stage(stage)
    init = "celo" if arguments.plugin == "celo" else None
    state = program.start(initial_theta(stage, init).theta, jax.random.PRNGKey(0))
    key = jax.random.PRNGKey(1)
    matrix = jax.random.normal(key, (2048, 2048), jnp.float32)
    product = jax.jit(lambda a, b: a @ b)
    product(matrix, matrix).block_until_ready()
    iterations, products = [], []
    for repeat in range(arguments.repeats + 1):
        began = time.perf_counter()
        state, _ = program.advance(state, key, ITERATIONS)
        middle = time.perf_counter()
        for _ in range(ITERATIONS):
            product(matrix, matrix).block_until_ready()
        end = time.perf_counter()
        if repeat:
            iterations.append((middle - began) / ITERATIONS)
            products.append((end - middle) / ITERATIONS)
    medians = statistics.median(iterations), statistics.median(products)
    ratios = [a / b for a, b in zip(iterations, products, strict=True)]
    print(
        json.dumps(
            {
                "plugin": arguments.plugin,
                "phase": arguments.phase,
                "families": list(program.families),
                "inner_steps": program.inner_steps,
                "iteration_s": medians[0],
                "product_s": medians[1],
                "ratio": medians[0] / medians[1],
                "ratio_best": min(iterations) / min(products),
                "ratio_median_of_pairs": statistics.median(ratios),
                "compile_s": program.compile_s,
                "memory_mb": program.memory_bytes / 1e6,
                "device": jax.devices()[0].device_kind,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
