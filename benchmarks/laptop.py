"""What a short meta-training ends with: its weights beside Adam at the best of five rates a task.

    CELO_DATA_DIR=... python benchmarks/laptop.py [--seeds 0,1,2,3,4] [--output DIR] [--recipe R]

Meta-trains a recipe once a seed (DIR/laptop-SEED), then trains four tasks with each result and with
Adam (DIR/evaluation), and prints every seed, whatever it came to, beside the weights that the
first one started from. All of it goes on where it stopped. `--train-only` leaves the second half
out, so that seeds may run side by side, each pinned to a core, on one DIR. Needs MNIST,
Fashion-MNIST and CIFAR-10; run it on a quiet machine if the minutes are to mean anything.

The score of a run is Adam's final training loss over its own, for the same task and seed, Adam at
the rate with the best mean over the seeds; the IQM is over all tasks and seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np

import celo
from celo.evaluation.compilation import enable_compilation_cache
from celo.evaluation.scores import ScoreOptions, final_loss_score, judge, select
from celo.files import write_atomically
from celo.metatrain.config import text_with_weights
from celo.metatrain.plan import make_plan, read_recipe_file
from celo.metatrain.plan import recipe as recipe_of
from celo.metatrain.stage import initial_theta, open_stage
from celo.metrics.resampling import iqm

RATES = ("3e-4", "1e-3", "3e-3", "1e-2", "3e-2")
TASKS = (
    "FastVelo_mnist",
    "FastVelo_fashion_mnist",
    "FastVelo_cifar10",
    "ImageMLP_FashionMnist_Relu128x128",  # outside meta-training
)
STEPS = 2000
SEEDS = (0, 1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2,3,4", help="of the meta-trainings")
    parser.add_argument("--output", type=Path, default=Path("celo-runs/laptop"))
    parser.add_argument("--recipe", default="celo-laptop", help="name or file")
    parser.add_argument("--train-only", action="store_true")
    arguments = parser.parse_args()
    enable_compilation_cache()
    folders = {
        seed: arguments.output / f"laptop-{seed}" for seed in map(int, arguments.seeds.split(","))
    }
    for seed, folder in folders.items():
        meta_train(arguments.recipe, seed, folder)
    if arguments.train_only:
        return
    runs = arguments.output / "evaluation"
    grid = np.array([final_losses(f"adam:lr={rate}", runs) for rate in RATES])
    best = [select(grid[:, task], "mean")[0] for task in range(len(TASKS))]
    adam = np.array([grid[point, task] for task, point in enumerate(best)])
    rates = [RATES[point] for point in best]
    print_row("tuned Adam", adam, "rates " + ", ".join(rates))
    start = final_losses(start_of(arguments.recipe, arguments.output), runs)
    scores = np.vectorize(final_loss_score)(adam, start)
    print_row("the start", start, f"IQM {iqm(scores.ravel()):.3f}, before any meta-training")
    above = 0
    table = {
        "tasks": TASKS,
        "adam": adam.tolist(),
        "rates": rates,
        "start": start.tolist(),
        "seeds": {},
    }
    for seed, folder in folders.items():
        own = final_losses(f"celo@{folder}", runs)
        scores = np.vectorize(final_loss_score)(adam, own)
        middle = float(iqm(scores.ravel()))
        won = int(np.sum(own.mean(axis=1) < adam.mean(axis=1)))
        above += middle > 1.0
        minutes = wall_minutes(folder)
        print_row(f"seed {seed}", own, f"IQM {middle:.3f}, {won} of 4 won, {minutes:.1f} min")
        table["seeds"][seed] = {"losses": own.tolist(), "iqm": middle, "won": won, "min": minutes}
    print(f"IQM above 1 for {above} of {len(folders)} seeds")
    text = json.dumps(table, indent=2)
    write_atomically(arguments.output / "laptop.json", lambda file: file.write(text.encode()))


def start_of(name: str, folder: Path) -> str:
    """The optimizer that the first seed's meta-training starts from, as text."""
    found = read_recipe_file(Path(name)) if Path(name).exists() else recipe_of(name)
    stage = open_stage(make_plan(recipe=found, seed=0).stages[0].config)
    path = folder / "start.safetensors"
    theta = initial_theta(stage, None).theta
    celo.save(theta, path, optimizer=stage.subject.found.record.name, overwrite=True)
    return text_with_weights(stage.config, str(path))


def meta_train(recipe: str, seed: int, folder: Path) -> None:
    """Meta-trains, or goes on; adds up the wall time of all sessions, compiling included."""
    if (folder / "summary.json").exists():
        return
    began = time.monotonic()
    before = wall_minutes(folder)
    try:
        celo.meta_train(recipe=recipe, seed=seed, output=folder, checkpoint_minutes=2.0)
    finally:
        folder.mkdir(parents=True, exist_ok=True)
        minutes = before + (time.monotonic() - began) / 60.0
        facts = {"minutes": minutes, "cores": len(os.sched_getaffinity(0))}
        (folder / "wall.json").write_text(json.dumps(facts))


def wall_minutes(folder: Path) -> float:
    path = folder / "wall.json"
    return json.loads(path.read_text())["minutes"] if path.exists() else 0.0


def final_losses(optimizer: str, runs: Path) -> np.ndarray:
    """Final training losses as they are scored, [tasks, seeds]; infinite for a run that is lost."""
    result = celo.evaluate(
        optimizer, tasks=TASKS, steps=STEPS, seeds=SEEDS, output=runs, reference=None
    )
    losses = np.full((len(TASKS), len(SEEDS)), np.inf)
    for cell in result.cells:
        if cell.status == "failed" or cell.key.entry != entry_of(optimizer):
            continue
        curve = judge(
            cell.curves["eval/xs"],
            cell.curves["eval/train/loss"],
            ScoreOptions(),
            diverged=cell.status == "diverged",
        )
        losses[TASKS.index(cell.key.task), SEEDS.index(cell.key.seed)] = curve.final_loss
    return losses


def entry_of(optimizer: str) -> str:
    from celo.loading import find

    return find(optimizer)[0].text


def print_row(name: str, losses: np.ndarray, note: str) -> None:
    means = "  ".join(f"{loss:.4f}" for loss in losses.mean(axis=1))
    print(f"{name:<12}{means}  {note}", flush=True)


if __name__ == "__main__":
    main()
