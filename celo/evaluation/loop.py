"""The training loop of an evaluation, as one compiled program a (task, optimizer).

A block of runs (seeds x members of a tuning grid) trains in step. One call of `advance` evaluates
and trains through some evaluation points and returns their losses: a loop with a dynamic trip count
around a loop over training steps, batches sampled on the device by key, the state donated. How many
points a call covers is the caller's choice, made by time, and changes neither the program nor
a bit of the results.

Semantics: `spec` of the published evaluation. Point k is at step min(k * eval_every, steps): first
every split is evaluated with the current parameters on fresh batches, then training goes on to the
next point. At the last point one more step is taken, whose loss is recorded and whose update nobody
sees, as in the reference loop.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from celo.data.sampling import batch_indices, gather
from celo.evaluation.cells import Schedule
from celo.protocol import Optimizer, PyTree, SplitTable, Task
from celo.records import Batching

EVAL_SPLITS = ("train", "outer_valid", "test")
POINTS_PER_CALL = 20
"""Most evaluation points a call covers: the size of the buffers it returns."""

# Streams of randomness of one run, folded into its key.
_INIT, _BATCHES, _LOSS, _EVAL, _EVAL_LOSS = range(5)


@dataclass(frozen=True)
class Runs:
    """Donated state of a block: every leaf has leading axes [seeds, members].

    Attributes:
      opt_state: optimizer state, parameters included.
    """

    opt_state: PyTree


@dataclass(frozen=True)
class Losses:
    """What one call of `advance` reports, for the points it covered.

    Attributes:
      evaluation: float32 [seeds, members, POINTS_PER_CALL, 3 splits, 2]: mean loss and mean
        normalised loss.
      training: float32 [seeds, members, POINTS_PER_CALL, eval_every]: losses before each update;
        entries behind the last step of a point are NaN.
    """

    evaluation: jax.Array
    training: jax.Array


for _record in (Runs, Losses):
    jax.tree_util.register_dataclass(_record)


@dataclass(frozen=True)
class Program:
    """The compiled pieces of one block shape.

    Attributes:
      start: () -> Runs: parameters and optimizer states at step 0.
      advance: (runs, first point, number of points) -> (runs, losses); donates `runs`.
      points: number of evaluation points of a whole run.
      compile_s: seconds spent tracing and compiling.
      temp_bytes: temporary memory of `advance`, as the compiler states it (0 if it does not).
      state_bytes_per_parameter: size of one optimizer state without the parameters.
    """

    start: Callable[[], Runs]
    advance: Callable[[Runs, int, int], tuple[Runs, Losses]]
    points: int
    compile_s: float
    temp_bytes: int
    state_bytes_per_parameter: float


def run_key(task_name: str, seed: int | jax.Array) -> jax.Array:
    """The key of a run: a function of task and seed alone, so that comparisons are paired."""
    return jax.random.fold_in(jax.random.PRNGKey(seed), zlib.crc32(task_name.encode()) >> 1)


def run_keys(task: Task, seeds: tuple[int, ...]) -> jax.Array:
    """The keys of several runs: uint32 [seeds, 2]."""
    return jnp.stack([run_key(task.name, seed) for seed in seeds])


def initial_params(task: Task, seeds: tuple[int, ...]) -> tuple[PyTree, PyTree]:
    """Parameters and model states at step 0, the same for every optimizer: leaves [seeds, ...]."""
    init = jax.vmap(lambda key: task.init_with_state(jax.random.fold_in(key, _INIT)))
    return jax.jit(init)(run_keys(task, seeds))


def num_points(schedule: Schedule) -> int:
    """Number of evaluation points of a run, the one at step 0 included."""
    return math.ceil(schedule.steps / schedule.eval_every) + 1


def point_steps(schedule: Schedule) -> list[int]:
    """The training step at which each point is evaluated."""
    last = num_points(schedule) - 1
    return [min(k * schedule.eval_every, schedule.steps) for k in range(last + 1)]


def compile_program(
    task: Task,
    params: PyTree,
    make_optimizer: Callable[[PyTree, Mapping[str, jax.Array]], Optimizer],
    theta: PyTree,
    members: Mapping[str, jax.Array],
    seeds: tuple[int, ...],
    schedule: Schedule,
    batching: Batching,
    tables: Mapping[str, SplitTable],
    clock: Callable[[], float],
) -> Program:
    """Compiles the loop for one block.

    Args:
      task: what is trained.
      params: result of `initial_params` for these seeds.
      make_optimizer: (theta, hyperparameters of one member) -> Optimizer; traced.
      theta: weights of a learned optimizer, or None.
      members: name -> array [members]: traced hyperparameters; {} stands for a single member.
      seeds: of the block.
      schedule: its `steps` and the number of points are data, not part of the program.
      batching: one vmapped axis, or one run after the other.
      tables: device-resident rows of the three evaluated splits.
      clock: seconds, for `compile_s`.
    """
    before = clock()
    width = len(next(iter(members.values()))) if members else 1
    hypers = dict(members)
    keys = run_keys(task, seeds)
    decoders = {split: tables[split] for split in EVAL_SPLITS}
    arrays = {split: dict(tables[split].arrays) for split in EVAL_SPLITS}
    body = _Body(task, make_optimizer, schedule, decoders, batching)

    start = jax.jit(partial(body.start, width=width))
    advance = jax.jit(body.advance, donate_argnums=0)

    steps = jnp.int32(schedule.steps)
    runs = jax.eval_shape(start, params, hypers, theta, steps)
    counts = (jnp.int32(0), jnp.int32(0))
    compiled = advance.lower(runs, keys, hypers, theta, arrays, steps, *counts).compile()
    started = start.lower(params, hypers, theta, steps).compile()

    def go(runs: Runs, first: int, count: int) -> tuple[Runs, Losses]:
        return compiled(
            runs, keys, hypers, theta, arrays, steps, jnp.int32(first), jnp.int32(count)
        )

    memory = compiled.memory_analysis()
    return Program(
        start=lambda: started(params, hypers, theta, steps),
        advance=go,
        points=num_points(schedule),
        compile_s=clock() - before,
        temp_bytes=int(getattr(memory, "temp_size_in_bytes", 0) or 0),
        state_bytes_per_parameter=_state_bytes_per_parameter(runs.opt_state, params),
    )


_Arrays = Mapping[str, Mapping[str, jax.Array]]


@dataclass(frozen=True)
class _Body:
    """The traced functions of a program."""

    task: Task
    make_optimizer: Callable[[PyTree, Mapping[str, jax.Array]], Optimizer]
    schedule: Schedule
    tables: Mapping[str, SplitTable]
    batching: Batching

    def start(
        self, params: PyTree, hypers: Any, theta: PyTree, steps: jax.Array, *, width: int
    ) -> Runs:
        def one(params_and_state: PyTree, hyper: Any) -> PyTree:
            optimizer = self.make_optimizer(theta, hyper)
            value, state = params_and_state
            return optimizer.init(value, model_state=state, num_steps=steps)

        grid = jax.vmap(one, in_axes=(None, 0), axis_size=width)
        return Runs(jax.vmap(lambda p: grid(p, hypers))(params))

    def advance(
        self,
        runs: Runs,
        keys: jax.Array,
        hypers: Any,
        theta: PyTree,
        arrays: _Arrays,
        steps: jax.Array,
        first: jax.Array,
        count: jax.Array,
    ) -> tuple[Runs, Losses]:
        def seed_runs(key: jax.Array, opt_states: PyTree) -> tuple[PyTree, Losses]:
            # Drawn once for all members of a grid, which see the same batches.
            rows = self._rows(key, first)
            run = partial(self._run, key, rows, theta, arrays, steps, first, count)
            return self._batched(run, (opt_states, hypers))

        opt_states, losses = self._batched(seed_runs, (keys, runs.opt_state))
        return Runs(opt_states), losses

    def _batched(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        if self.batching == "vmap":
            return jax.vmap(function)(*args)
        return jax.lax.map(lambda packed: function(*packed), args)

    def _rows(self, key: jax.Array, first: jax.Array) -> dict[str, jax.Array]:
        """Row numbers of every batch that a call may need, by stream."""
        s = self.schedule
        table = self.tables["train"]
        training = POINTS_PER_CALL * s.eval_every
        rows = {
            "": batch_indices(
                jax.random.fold_in(key, _BATCHES),
                first * s.eval_every,
                training,
                rows=table.rows,
                batch_size=table.batch_size,
            )
        }
        evaluation = (POINTS_PER_CALL - 1) * s.eval_batches + max(
            s.eval_batches, s.last_eval_batches
        )
        for number, split in enumerate(EVAL_SPLITS):
            rows[split] = batch_indices(
                jax.random.fold_in(jax.random.fold_in(key, _EVAL), number),
                first * s.eval_batches,
                evaluation,
                rows=self.tables[split].rows,
                batch_size=self.tables[split].batch_size,
            )
        return rows

    def _run(
        self,
        key: jax.Array,
        rows: dict[str, jax.Array],
        theta: PyTree,
        arrays: _Arrays,
        steps: jax.Array,
        first: jax.Array,
        count: jax.Array,
        opt_state: PyTree,
        hyper: Any,
    ) -> tuple[PyTree, Losses]:
        s = self.schedule
        optimizer = self.make_optimizer(theta, hyper)
        last = (steps + s.eval_every - 1) // s.eval_every
        loss_key = jax.random.fold_in(key, _LOSS)

        def train_step(i: jax.Array, carry: Any) -> Any:
            opt_state, losses, offset, start = carry
            batch = gather(self.tables["train"], arrays["train"], rows[""][offset + i])
            params, state = optimizer.get_params_state(opt_state)
            step_key = jax.random.fold_in(loss_key, start + i)
            (loss, new_state), grad = jax.value_and_grad(self.task.loss_with_state, has_aux=True)(
                params, state, step_key, batch
            )
            opt_state = optimizer.update(
                opt_state, grad, loss=loss, model_state=new_state, is_valid=False, key=step_key
            )
            return opt_state, losses.at[i].set(loss), offset, start

        def point(k: jax.Array, carry: Any) -> Any:
            opt_state, evaluation, training = carry
            number = first + k
            step = jnp.minimum(number * s.eval_every, steps)
            params, state = optimizer.get_params_state(opt_state)
            values = self._evaluate(key, rows, arrays, params, state, number, k, number == last)
            todo = jnp.where(number == last, 1, jnp.minimum(s.eval_every, steps - step))
            losses = jnp.full((s.eval_every,), jnp.nan)
            opt_state, losses, _, _ = jax.lax.fori_loop(
                0, todo, train_step, (opt_state, losses, k * s.eval_every, step)
            )
            return opt_state, evaluation.at[k].set(values), training.at[k].set(losses)

        opt_state, evaluation, training = jax.lax.fori_loop(
            0,
            count,
            point,
            (
                opt_state,
                jnp.full((POINTS_PER_CALL, len(EVAL_SPLITS), 2), jnp.nan),
                jnp.full((POINTS_PER_CALL, s.eval_every), jnp.nan),
            ),
        )
        return opt_state, Losses(evaluation, training)

    def _evaluate(
        self,
        key: jax.Array,
        rows: dict[str, jax.Array],
        arrays: _Arrays,
        params: PyTree,
        state: PyTree,
        number: jax.Array,
        k: jax.Array,
        is_last: jax.Array,
    ) -> jax.Array:
        """Mean loss and mean normalised loss by split: float32 [3, 2]."""
        s = self.schedule
        batches = jnp.where(is_last, s.last_eval_batches, s.eval_batches)
        point_key = jax.random.fold_in(jax.random.fold_in(key, _EVAL_LOSS), number)

        def add(split_number: int, split: str, j: jax.Array, total: jax.Array) -> jax.Array:
            batch = gather(self.tables[split], arrays[split], rows[split][k * s.eval_batches + j])
            batch_key = jax.random.fold_in(jax.random.fold_in(point_key, split_number), j)
            loss, _ = self.task.loss_with_state(params, state, batch_key, batch)
            return total + jnp.stack([loss, self.task.normalizer(loss)]).astype(total.dtype)

        sums = [
            jax.lax.fori_loop(0, batches, partial(add, n, split), jnp.zeros((2,)))
            for n, split in enumerate(EVAL_SPLITS)
        ]
        return jnp.stack(sums) / batches


def _state_bytes_per_parameter(opt_state: PyTree, params: PyTree) -> float:
    """Bytes of the whole state less those of the parameters, for each parameter."""

    def size(tree: PyTree) -> int:
        return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))

    value, _ = params
    seeds = jax.tree.leaves(value)[0].shape[0]
    runs = seeds * _width(opt_state, seeds)
    one_state = size(opt_state) / runs
    one_params = size(value) / seeds
    count = sum(math.prod(x.shape) for x in jax.tree.leaves(value)) / seeds
    return (one_state - one_params) / count


def _width(opt_state: PyTree, seeds: int) -> int:
    leaf = jax.tree.leaves(opt_state)[0]
    assert leaf.shape[0] == seeds
    return leaf.shape[1]
