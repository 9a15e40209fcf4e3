"""One update of every optimizer beside jitted, donated `optax.adam` on the same parameters.

    CELO_ZOO_PATH=... python benchmarks/update.py [--mlp] [--optimizers celo,adam] [--turns 5]
    python benchmarks/update.py --mlp --write docs/optimizers/cost.csv && python docs/generate.py

What `celo bench update` measures, for all optimizers, together with the time it takes to compile an
update of a tree of a hundred leaves. Learned optimizers whose weights are not on this machine run
with random ones: the cost is the same.
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
from celo.bench.update import UpdateCost, load_or_draw, lowered_updates, measure_updates
from celo.pages import Cost, write_costs

SMALL = (784, 128, 128, 10)


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
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--write", type=Path, metavar="CSV", help="adds what was measured to it")
    arguments = parser.parse_args()
    names = [n for n in arguments.optimizers.split(",") if n]
    names = names or [found.name for found in registry.optimizers()]
    params = mlp_parameters(MLP if arguments.mlp else SMALL, arguments.copies)
    print(f"{describe()}; medians of {arguments.turns} turns")
    print(
        f"{'optimizer':22s} {'ms/update':>10s} {'x adam':>7s} {'state B/param':>13s} "
        f"{'temp x params':>13s} {'100 leaves':>11s}"
    )
    rows = measure_updates(
        names, params, turns=arguments.turns, copies=arguments.copies is not None
    )
    for name, row in zip([None, *names], rows, strict=True):
        seconds = compile_seconds(name) if name else 0.0
        print(
            f"{row.optimizer:22s} {row.ms:10.2f} {row.ratio_to_adam:7.1f} "
            f"{row.state_bytes_per_param:13.1f} {row.temp_ratio:13.1f} {seconds:9.1f} s",
            flush=True,
        )
        if name and arguments.write:
            write_costs(arguments.write, [kept(name, row, seconds)])


if __name__ == "__main__":
    main()
