"""One update of every optimizer beside jitted, donated `optax.adam` on the same parameters.

    CELO_ZOO_PATH=... python benchmarks/update.py [--mlp] [--optimizers celo,adam] [--turns 5]
    python benchmarks/update.py --mlp --write docs/optimizers/cost.csv && python docs/generate.py

What `celo bench update` measures, for all optimizers, together with the time it takes to compile an
update of a tree of a hundred leaves. Learned optimizers whose weights are not on this machine run
with random ones: the cost is the same.

The first row is Adam beside itself, 1 but for noise; `of copy` is what an update cannot but move,
over what a copy moves in the same time. Where celo2 and celo2-base are both measured, a last line
holds the former against the latter and its Newton-Schulz products measured by themselves
(with --mlp).
"""

from __future__ import annotations

import argparse
import datetime
import time
from pathlib import Path

import jax

from celo import registry
from celo.bench.machine import describe
from celo.bench.trees import MLP, mlp_parameters, tree_of_a_hundred_leaves
from celo.bench.update import (
    UpdateCost,
    load_or_draw,
    lowered_updates,
    measure_products,
    measure_updates,
)
from celo.pages import Cost, write_costs

SMALL = (784, 128, 128, 10)
WITH_PRODUCTS, WITHOUT_PRODUCTS = "celo2", "celo2-base"


def compile_seconds(text: str) -> float:
    """Seconds to trace and compile an update of a hundred leaves."""
    began = time.perf_counter()
    lowered_updates(load_or_draw(text)[0], tree_of_a_hundred_leaves()).compile()
    return time.perf_counter() - began


def kept(name: str, row: UpdateCost, seconds: float) -> Cost:
    """What the pages of the documentation show."""
    return Cost(
        optimizer=name,
        device=jax.default_backend(),
        adam_ratio=round(row.ratio_to_adam, 2),
        temp_bytes_per_parameter=round(4 * row.temp_ratio, 1),
        compile_seconds=round(seconds, 1),
        parameters=row.params,
        machine=describe(),
        date=datetime.date.today().isoformat(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mlp", action="store_true", help="9.45 M parameters, 3072-1024(x7)-10")
    parser.add_argument("--optimizers", default="", help="names; all installed ones by default")
    parser.add_argument("--copies", type=int, help="runs vmapped side by side")
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--no-compilation", action="store_true", help="without a hundred leaves")
    parser.add_argument("--write", type=Path, metavar="CSV", help="adds what was measured to it")
    arguments = parser.parse_args()
    names = [n for n in arguments.optimizers.split(",") if n]
    names = names or [found.name for found in registry.optimizers()]
    params = mlp_parameters(MLP if arguments.mlp else SMALL, arguments.copies)
    print(f"{describe()}; medians of {arguments.turns} turns")
    print(
        f"{'optimizer':22s} {'ms/update':>10s} {'x adam':>7s} {'of copy':>7s} "
        f"{'state B/param':>13s} {'temp x':>6s} {'100 leaves':>11s}"
    )
    rows = measure_updates(
        names, params, turns=arguments.turns, copies=arguments.copies is not None
    )
    ratios = {}
    for name, row in zip([None, *names], rows, strict=True):
        seconds = compile_seconds(name) if name and not arguments.no_compilation else 0.0
        ratios[name] = row.ratio_to_adam
        print(
            f"{row.optimizer:22s} {row.ms:10.2f} {row.ratio_to_adam:7.2f} "
            f"{row.fraction_of_bandwidth:7.0%} {row.state_bytes_per_param:13.1f} "
            f"{row.temp_ratio:6.1f} {seconds:9.1f} s",
            flush=True,
        )
        if name and arguments.write:
            write_costs(arguments.write, [kept(name, row, seconds)])
    # Small products by themselves are mostly the start of a program.
    large = arguments.mlp and arguments.copies is None
    if large and {WITH_PRODUCTS, WITHOUT_PRODUCTS} <= ratios.keys():
        own, base = ratios[WITH_PRODUCTS], ratios[WITHOUT_PRODUCTS]
        cost = measure_products(WITH_PRODUCTS, WITHOUT_PRODUCTS, params, turns=arguments.turns)
        bound = base + cost.ratio_to_adam
        print(
            f"{WITH_PRODUCTS}: {base:.1f} x adam for {WITHOUT_PRODUCTS} + {cost.ratio_to_adam:.1f} "
            f"for {cost.flop / 1e9:.0f} GFLOP of products at {cost.gflop_s:.0f} GFLOP/s = "
            f"{bound:.1f}; measured {own:.1f}, {own / bound - 1:+.0%}"
        )


if __name__ == "__main__":
    main()
