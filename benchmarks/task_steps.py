"""Training steps of the evaluation loop against a hand-written loop, task by task.

    CELO_DATA_DIR=... python benchmarks/task_steps.py [--suite velodrome] [--tasks NAME,...]
        [--data lm1b=wikitext2,wikipedia=wikitext2] [--steps N] [--seconds 3] [--repeats 5]

The hand-written loop is what one would write for a single run: a jitted `lax.scan` over batches
that lie on the device, with the same optax optimizer. Ours runs the block of one seed as a user's
comparison does; the evaluation before the steps is measured on its own and taken off. Both go
through the same number of steps, in turn, in one process; printed are medians, the median ratio of
pairs and its range. The number of steps is chosen so that a turn takes `--seconds`, but at least
four: where a step takes seconds, so does every turn, and `--repeats 3` is enough. Tasks without
data here are skipped, and named.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from celo import registry
from celo.data.selection import DataSelection
from celo.errors import CeloError
from celo.evaluation import loop
from celo.evaluation.batches import open_batches
from celo.evaluation.compilation import enable_compilation_cache
from celo.evaluation.config import EvalConfig
from celo.evaluation.factories import optimizer_factory, traced_members
from celo.evaluation.plan import Block, make_plan
from celo.protocol import Task
from celo.tasks import build_task

_BATCHES = 16
"""Different batches that the hand-written loop goes round."""
_LEAST_STEPS = 4


def hand_written(
    task: Task, optimizer: optax.GradientTransformation, steps: int
) -> Callable[[], float]:
    """A call that trains for `steps` steps from the start and returns the seconds of one."""
    batches = [next(task.datasets.train) for _ in range(_BATCHES)]
    stacked = jax.tree.map(lambda *x: jax.device_put(np.stack(x)), *batches)
    params, state = jax.jit(task.init_with_state)(jax.random.PRNGKey(0))
    opt_state = jax.jit(optimizer.init)(params)
    grad_fn = jax.value_and_grad(task.loss_with_state, has_aux=True)

    @jax.jit
    def train(carry: Any, stacked: Any) -> Any:
        def step(carry: Any, i: jax.Array) -> Any:
            params, state, opt_state = carry
            batch = jax.tree.map(lambda x: x[i % _BATCHES], stacked)
            key = jax.random.fold_in(jax.random.PRNGKey(1), i)
            (loss, state), grad = grad_fn(params, state, key, batch)
            updates, opt_state = optimizer.update(grad, opt_state, params)
            return (optax.apply_updates(params, updates), state, opt_state), loss

        return jax.lax.scan(step, carry, jnp.arange(steps))

    def run() -> float:
        began = time.perf_counter()
        jax.block_until_ready(train((params, state, opt_state), stacked))
        return (time.perf_counter() - began) / steps

    return run


def ours(task: Task, block: Block) -> Callable[[], float]:
    """The same by the evaluation loop, whose first point has all steps and whose second has one."""
    start = loop.prepare(task, open_batches(task), block.seeds, block.schedule)
    make_optimizer, theta = optimizer_factory(block.entry)
    batching = block.batching(jax.default_backend())
    program = loop.compile_program(
        start, make_optimizer, theta, traced_members(block.entry), batching
    )
    steps = block.schedule.eval_every

    def run() -> float:
        runs, seconds = jax.block_until_ready(program.start()), []
        for point in range(2):
            began = time.perf_counter()
            runs, losses = program.advance(runs, point, 1)
            jax.block_until_ready((runs, losses))
            seconds.append(time.perf_counter() - began)
        # Both have one evaluation.
        return (seconds[0] - seconds[1]) / (steps - 1)

    return run


def block_of(name: str, data: str, steps: int, folder: str) -> Block:
    """One seed, no reference, two evaluation points."""
    config = EvalConfig(
        optimizers=("adam:lr=1e-3",),
        tasks=(name,),
        steps=steps,
        eval_every=steps,
        eval_batches=1,
        last_eval_batches=1,
        seeds=(0,),
        reference=None,
        data=data,
        output=Path(folder) / f"{name}-{steps}",
    )
    return make_plan(config).blocks[0]


@dataclass(frozen=True)
class Measured:
    """One task.

    Attributes:
      steps: of a turn.
      ours: milliseconds a step, median.
      by_hand: likewise.
      ratios: of the pairs, sorted.
    """

    steps: int
    ours: float
    by_hand: float
    ratios: tuple[float, ...]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)


def measure(name: str, arguments: argparse.Namespace, folder: str) -> Measured:
    """Compiles both loops and takes turns."""
    task = build_task(registry.task(name).record, DataSelection.parse(arguments.data))
    adam = optax.adam(1e-3, eps_root=1e-8)
    steps = arguments.steps
    if steps is None:
        probe = hand_written(task, adam, _LEAST_STEPS)
        probe()
        steps = int(np.clip(arguments.seconds / probe(), _LEAST_STEPS, 400))
    reference = hand_written(task, adam, steps)
    mine = ours(task, block_of(name, arguments.data, steps, folder))
    reference()
    mine()
    pairs = [(mine(), reference()) for _ in range(arguments.repeats)]
    own, other = (statistics.median(values) * 1e3 for values in zip(*pairs, strict=True))
    return Measured(steps, own, other, tuple(sorted(a / b for a, b in pairs)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", default="velodrome")
    parser.add_argument("--tasks", help="instead of a suite")
    parser.add_argument("--data", default="real", help="`synthetic`, or SET=SOURCE,...")
    parser.add_argument("--steps", type=int, help="of a turn, at least 2")
    parser.add_argument("--seconds", type=float, default=3.0, help="of a turn, about")
    parser.add_argument("--repeats", type=int, default=5, help="turns")
    arguments = parser.parse_args()
    enable_compilation_cache()
    names = (
        arguments.tasks.split(",")
        if arguments.tasks
        else registry.suite(arguments.suite).record.tasks
    )
    columns = f"{'steps':>5} {'ours ms':>9} {'by hand':>9} {'ratio':>6} {'range':>13}"
    print(f"{'task':<50} {columns}", flush=True)
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            try:
                found = measure(name, arguments, folder)
            except CeloError as error:
                print(f"{name:<50} skipped: {error.message[:60]}", flush=True)
                continue
            ratios.append(found.ratio)
            times = f"{found.steps:>5} {found.ours:>9.2f} {found.by_hand:>9.2f}"
            extent = f"{found.ratios[0]:.3f}-{found.ratios[-1]:.3f}"
            print(f"{name:<50} {times} {found.ratio:>6.3f} {extent:>13}", flush=True)
    if ratios:
        print(f"largest ratio {max(ratios):.3f} of {len(ratios)} tasks")


if __name__ == "__main__":
    main()
