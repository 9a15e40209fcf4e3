"""One update of every optimizer beside jitted, donated `optax.adam` on the same parameters.

    CELO_ZOO_PATH=... python benchmarks/update.py [--widths 784,128,128,10] [--copies 1]

Updates run inside one compiled loop, as in training; optimizers take turns, and the figure is the
median over turns of the ratio to the Adam of the same turn.
"""

from __future__ import annotations

import argparse
import statistics
import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

import celo
from celo import registry
from celo.optim import from_optax
from celo.protocol import Optimizer

UPDATES = 20


def parameters(widths: list[int], copies: int) -> Any:
    keys = jax.random.split(jax.random.PRNGKey(0), len(widths))
    return {
        f"layer_{i}": {
            "w": jax.random.normal(keys[i], (copies, a, b)) / a**0.5,
            "b": jnp.zeros((copies, b)),
        }
        for i, (a, b) in enumerate(zip(widths[:-1], widths[1:], strict=True))
    }


def compiled(optimizer: Optimizer, params: Any) -> tuple[Any, Any, float, float]:
    """(state, compiled loop of updates, seconds to compile, temporary bytes a parameter)."""

    @partial(jax.jit, donate_argnums=0)
    def updates(states: Any) -> Any:
        def one(state: Any) -> Any:
            # A gradient that depends on the parameters, so that nothing can be hoisted.
            grad = jax.tree.map(lambda p: 0.1 * p + 0.01, optimizer.get_params(state))
            return optimizer.update(state, grad, loss=jnp.float32(1.0))

        return jax.lax.fori_loop(0, UPDATES, lambda _, s: jax.vmap(one)(s), states)

    states = jax.jit(jax.vmap(lambda p: optimizer.init(p, num_steps=1000)))(params)
    began = time.perf_counter()
    program = updates.lower(states).compile()
    seconds = time.perf_counter() - began
    memory = program.memory_analysis()
    temp = memory.temp_size_in_bytes if memory else 0
    return states, program, seconds, temp / sum(p.size for p in jax.tree.leaves(params))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", default="784,128,128,10")
    parser.add_argument("--copies", type=int, default=1, help="runs vmapped side by side")
    parser.add_argument("--turns", type=int, default=15)
    arguments = parser.parse_args()
    params = parameters([int(w) for w in arguments.widths.split(",")], arguments.copies)
    count = sum(p.size for p in jax.tree.leaves(params))
    programs = {"optax.adam": compiled(from_optax(optax.adam(1e-3), name="adam"), params)}
    for found in registry.optimizers():
        programs[found.name] = compiled(celo.load(found.name), params)
    times: dict[str, list[float]] = {name: [] for name in programs}
    states = {name: program[0] for name, program in programs.items()}
    for turn in range(arguments.turns + 1):
        for name, (_, program, _, _) in programs.items():
            began = time.perf_counter()
            states[name] = jax.block_until_ready(program(states[name]))
            if turn:
                times[name].append((time.perf_counter() - began) / UPDATES * 1e3)
    print(f"{count} parameters, {jax.default_backend()}, medians of {arguments.turns} turns")
    print(
        f"{'optimizer':12s} {'ms/update':>10s} {'x adam':>7s} {'temp B/param':>13s} {'compile':>8s}"
    )
    for name, values in times.items():
        pairs = zip(values, times["optax.adam"], strict=True)
        ratio = statistics.median(own / adam for own, adam in pairs)
        _, _, seconds, temp = programs[name]
        middle = statistics.median(values)
        print(f"{name:12s} {middle:10.3f} {ratio:7.1f} {temp:13.1f} {seconds:6.1f} s")


if __name__ == "__main__":
    main()
