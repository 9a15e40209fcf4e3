"""Training steps of the evaluation loop against a hand-written loop, task by task.

    CELO_DATA_DIR=... python benchmarks/task_steps.py [--suite velodrome] [--tasks NAME,...]
        [--optimizer adam:lr=1e-3] [--steps N] [--repeats 5]

The hand-written loop is what one would write for a single run: a jitted `lax.scan` over batches
that lie on the device, with the same optax optimizer. Ours runs the block of one seed as a user's
comparison does; the evaluation before the steps is measured on its own and taken off. Both go
through the same number of steps (chosen so that a turn takes a few seconds), in turn, in one
process; printed are medians and the median ratio of pairs. Tasks without data here are skipped, and
named.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
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


def block_of(name: str, optimizer: str, steps: int, folder: str) -> Block:
    """One seed, no reference, two evaluation points."""
    config = EvalConfig(
        optimizers=(optimizer,),
        tasks=(name,),
        steps=steps,
        eval_every=steps,
        eval_batches=1,
        last_eval_batches=1,
        seeds=(0,),
        reference=None,
        output=Path(folder) / f"{name}-{steps}",
    )
    return make_plan(config).blocks[0]


def measure(name: str, arguments: argparse.Namespace, folder: str) -> tuple[float, float, float]:
    """Milliseconds a step, ours and hand-written, and the median ratio of pairs."""
    task = build_task(registry.task(name).record, DataSelection())
    adam = optax.adam(1e-3, eps_root=1e-8)
    steps = arguments.steps
    if steps is None:
        probe = hand_written(task, adam, 4)
        probe()
        steps = int(np.clip(3 / probe(), 8, 400))
    reference = hand_written(task, adam, steps)
    mine = ours(task, block_of(name, arguments.optimizer, steps, folder))
    reference()
    mine()
    pairs = [(mine(), reference()) for _ in range(arguments.repeats)]
    ratio = statistics.median(a / b for a, b in pairs)
    own, other = (statistics.median(values) * 1e3 for values in zip(*pairs, strict=True))
    return own, other, ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", default="velodrome")
    parser.add_argument("--tasks", help="instead of a suite")
    parser.add_argument("--optimizer", default="adam:lr=1e-3")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    enable_compilation_cache()
    names = (
        arguments.tasks.split(",")
        if arguments.tasks
        else registry.suite(arguments.suite).record.tasks
    )
    print(f"{'task':<50} {'ours ms':>9} {'by hand':>9} {'ratio':>6}", flush=True)
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            try:
                own, other, ratio = measure(name, arguments, folder)
            except CeloError as error:
                print(f"{name:<50} skipped: {error.message[:60]}", flush=True)
                continue
            ratios.append(ratio)
            print(f"{name:<50} {own:>9.2f} {other:>9.2f} {ratio:>6.3f}", flush=True)
    if ratios:
        print(f"largest ratio {max(ratios):.3f} of {len(ratios)} tasks")


if __name__ == "__main__":
    main()
