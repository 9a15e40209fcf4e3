"""One update of every optimizer beside jitted, donated `optax.adam` on the same parameters.

    CELO_ZOO_PATH=... python benchmarks/update.py [--mlp] [--optimizers celo,adam] [--turns 5]
    python benchmarks/update.py --mlp --write docs/optimizers/cost.csv && python docs/generate.py

Updates run inside one compiled loop, as in training. Each optimizer takes turns with Adam, and its
figure is the median over turns of the ratio to the Adam of the same turn. Learned optimizers whose
weights are not on this machine run with random ones: the cost is the same.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

import celo
from celo import registry
from celo.errors import WeightsError
from celo.optim import from_optax
from celo.pages import Cost, write_costs
from celo.protocol import Optimizer

MLP = (3072, *[1024] * 7, 10)
SMALL = (784, 128, 128, 10)


def parameters(widths: tuple[int, ...], copies: int) -> Any:
    keys = jax.random.split(jax.random.PRNGKey(0), len(widths))
    return {
        f"layer_{i}": {
            "w": jax.random.normal(keys[i], (copies, a, b)) / a**0.5,
            "b": jnp.zeros((copies, b)),
        }
        for i, (a, b) in enumerate(zip(widths[:-1], widths[1:], strict=True))
    }


def tree_of_a_hundred_leaves() -> Any:
    """Twelve transformer blocks of eight leaves, and four leaves around them."""
    shapes = {"qkv": (64, 192), "out": (64, 64), "up": (64, 256), "down": (256, 64)}
    block = {name: {"w": s, "b": s[1:]} for name, s in shapes.items()}
    tree: dict[str, Any] = {f"block_{i:02d}": block for i in range(12)}
    tree["around"] = {"embed": (100, 64), "head": (64, 100), "scale": (64,), "shift": (64,)}
    is_shape = lambda x: isinstance(x, tuple)  # noqa: E731
    return jax.tree.map(
        lambda s: jax.ShapeDtypeStruct((1, *s), jnp.float32), tree, is_leaf=is_shape
    )


def lowered(optimizer: Optimizer, params: Any, updates: int) -> tuple[Callable[..., Any], Any]:
    """(init, lowered loop of updates)."""

    @partial(jax.jit, donate_argnums=0)
    def loop(states: Any) -> Any:
        def one(state: Any) -> Any:
            # A gradient that depends on the parameters, so that nothing can be hoisted.
            grad = jax.tree.map(lambda p: 0.1 * p + 0.01, optimizer.get_params(state))
            return optimizer.update(state, grad, loss=jnp.float32(1.0))

        return jax.lax.fori_loop(0, updates, lambda _, s: jax.vmap(one)(s), states)

    init = jax.jit(jax.vmap(lambda p: optimizer.init(p, num_steps=1000)))
    return init, loop.lower(jax.eval_shape(init, params))


def load(name: str) -> Optimizer:
    try:
        return celo.load(name)
    except (WeightsError, celo.CeloError):
        return celo.load(f"{name}@random:0")


def machine() -> str:
    """What it was measured on, in one line."""
    device = jax.devices()[0].device_kind
    where = f"{os.cpu_count()} cores, {platform.machine()}" if device == "cpu" else device
    return f"{where}, {platform.system()}, jax {jax.__version__}"


def measure(name: str, params: Any, updates: int, turns: int) -> tuple[str, Cost]:
    """One row of the table, and what of it is kept."""
    count = sum(p.size for p in jax.tree.leaves(params))
    programs: list[Any] = []
    states: list[Any] = []
    for optimizer in (load(name), from_optax(optax.adam(1e-3), name="adam")):
        init, loop = lowered(optimizer, params, updates)
        programs.append(loop.compile())
        states.append(init(params))
    memory = programs[0].memory_analysis()
    temp = memory.temp_size_in_bytes if memory else 0
    state_bytes = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(states[0]))
    times: list[list[float]] = []
    for turn in range(turns + 1):
        pair = []
        for i, program in enumerate(programs):
            began = time.perf_counter()
            states[i] = jax.block_until_ready(program(states[i]))
            pair.append((time.perf_counter() - began) / updates * 1e3)
        if turn:
            times.append(pair)
    ratio = statistics.median(own / adam for own, adam in times)
    middle = statistics.median(own for own, _ in times)
    began = time.perf_counter()
    lowered(load(name), tree_of_a_hundred_leaves(), 1)[1].compile()
    seconds = time.perf_counter() - began
    row = (
        f"{name:22s} {middle:10.2f} {ratio:7.1f} {state_bytes / count - 4:13.1f} "
        f"{temp / count:12.1f} {temp / (4 * count):8.1f} {seconds:9.1f} s"
    )
    return row, Cost(
        optimizer=name,
        device=jax.default_backend(),
        adam_ratio=round(ratio, 2),
        temp_bytes_per_parameter=round(temp / count, 1),
        compile_seconds=round(seconds, 1),
        parameters=count,
        machine=machine(),
        date=datetime.date.today().isoformat(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mlp", action="store_true", help="9.45 M parameters, 3072-1024(x7)-10")
    parser.add_argument("--optimizers", default="", help="names; all installed ones by default")
    parser.add_argument("--copies", type=int, default=1, help="runs vmapped side by side")
    parser.add_argument("--updates", type=int, default=5, help="updates a turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--write", type=Path, metavar="CSV", help="adds what was measured to it")
    arguments = parser.parse_args()
    names = [n for n in arguments.optimizers.split(",") if n]
    names = names or [found.name for found in registry.optimizers()]
    params = parameters(MLP if arguments.mlp else SMALL, arguments.copies)
    count = sum(p.size for p in jax.tree.leaves(params))
    print(f"{count} parameters, {jax.default_backend()}, medians of {arguments.turns} turns")
    print(
        f"{'optimizer':22s} {'ms/update':>10s} {'x adam':>7s} {'state B/param':>13s} "
        f"{'temp B/param':>12s} {'x params':>8s} {'100 leaves':>11s}"
    )
    for name in names:
        row, cost = measure(name, params, arguments.updates, arguments.turns)
        print(row, flush=True)
        if arguments.write:
            write_costs(arguments.write, [cost])


if __name__ == "__main__":
    main()
