"""Does meta-training learn? Phase 1 of a recipe from three initial thetas, and standing still.

    CELO_DATA_DIR=... python benchmarks/learning.py [--output DIR] [--recipe R] [--start momentum]

Random weights by default, whatever the recipe starts from; `--start momentum` is a hand-made
optimizer, which is good before anything is learned. Prints the mean meta-loss over the outer
iterations 251-300 and over the last 50 up to the 1,000th, for each initial theta, no choice among
them, and the first figure of the same runs with `outer_lr = 0`. ln 10 = 2.303 is an optimizer that
does nothing. Resumable.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from celo.evaluation.compilation import enable_compilation_cache
from celo.metatrain.plan import make_plan, read_recipe_file, recipe
from celo.metatrain.program import Program
from celo.metatrain.run import train
from celo.metatrain.stage import compile_stage, initial_theta, open_stage

BAR = 1.9
EARLY, LATE, COVERED = 300, 1000, 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2", help="of the initial thetas")
    parser.add_argument("--output", type=Path, default=Path("celo-runs/learning"))
    parser.add_argument("--recipe", default="celo-laptop", help="name or file")
    parser.add_argument("--start", default="random", help="random, or momentum")
    arguments = parser.parse_args()
    enable_compilation_cache()
    path = Path(arguments.recipe)
    chosen = read_recipe_file(path) if path.exists() else recipe(arguments.recipe)
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    for title, rate, until in (("learning", None, LATE), ("standing still", 0.0, EARLY)):
        program: Program | None = None
        for seed in seeds:
            plan = make_plan(
                recipe=chosen, phase=1, restarts=1, seed=seed, outer_lr=rate, start=arguments.start
            )
            stage = open_stage(plan.stages[0].config)
            program = program or compile_stage(stage)
            folder = arguments.output / f"{arguments.start}-{title.replace(' ', '-')}-{seed}"
            train(stage, initial_theta(stage, None), program, folder, until=until)
            rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
            early = mean_loss(rows, EARLY)
            line = f"{title:<15} seed {seed}: iterations 251-{EARLY} {early:.4f}"
            if until == LATE:
                last = min(LATE, stage.config.iterations)
                line += f" ({'below' if early < BAR else 'NOT below'} {BAR})"
                line += f", {last - COVERED + 1}-{last} {mean_loss(rows, last):.4f}"
            print(line, flush=True)


def mean_loss(rows: list[dict[str, Any]], last: int) -> float:
    """Mean meta-loss over the 50 iterations up to `last`; lines of the log do not straddle it."""
    covered = [row for row in rows if last - COVERED < row["iteration"] <= last]
    count = sum(row["iterations"] for row in covered)
    return sum(row["iterations"] * row["loss"] for row in covered) / count


if __name__ == "__main__":
    main()
