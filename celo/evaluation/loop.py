"""The training loop of an evaluation, as one compiled program a (task, optimizer).

A block of runs (seeds x members of a tuning grid) trains in step. One call of `advance` evaluates
and trains through some evaluation points and returns their losses: a loop with a dynamic trip count
around a loop over training steps, batches gathered on the device, the state donated. How many
points a call covers is the caller's choice, made by time, and changes neither the program nor
a bit of the results; nor does it matter whether the whole table or the rows of a window lie on the
device.

Point k is at step min(k * eval_every, steps): first every split is evaluated with the current
parameters on fresh batches, then training goes on to the next point. At the last point one more
step is taken, whose loss is recorded and whose update nobody sees, as in the published procedure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp

from celo.data.sampling import gather
from celo.evaluation.batches import (
    EVAL_LOSS,
    EVAL_SPLITS,
    INIT,
    LOSS,
    Batches,
    Rows,
    Window,
    draw_rows,
    points_per_window,
    run_key,
)
from celo.evaluation.cells import Schedule
from celo.evaluation.feeding import Feed, abstract_window
from celo.protocol import Optimizer, PyTree, SplitTable, Task, eval_params
from celo.records import Batching

MakeOptimizer = Callable[[PyTree, Mapping[str, jax.Array]], Optimizer]
"""(theta, traced hyperparameters of one member) -> Optimizer."""


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
      evaluation: float32 [seeds, members, points of a window, 3 splits, 2]: mean loss and mean
        normalised loss.
      training: float32 [seeds, members, points of a window, eval_every]: losses before each update;
        entries behind the last step of a point are NaN.
    """

    evaluation: jax.Array
    training: jax.Array


for _record in (Runs, Losses):
    jax.tree_util.register_dataclass(_record)


@dataclass(frozen=True)
class Start:
    """What all optimizers of a task share, for the seeds of one block.

    Attributes:
      task: what is trained.
      schedule: of the runs.
      batches: its data.
      keys: uint32 [seeds, 2].
      params: (parameters, model state) at step 0; leaves [seeds, ...].
      window: evaluation points of a window.
      data: number of a window -> what the loop reads for it; the last one is kept.
      abstract: its shapes.
    """

    task: Task
    schedule: Schedule
    batches: Batches
    keys: jax.Array
    params: tuple[PyTree, PyTree]
    window: int
    data: Callable[[int], Window]
    abstract: Window


@dataclass(frozen=True)
class Program:
    """The compiled pieces of one block.

    Attributes:
      start: () -> Runs: parameters and optimizer states at step 0.
      advance: (runs, first point, number of points) -> (runs, losses); donates `runs`. The points
        lie in one window.
      points: number of evaluation points of a whole run.
      window: number of evaluation points of a window.
      temp_bytes: temporary memory of `advance`, as the compiler states it (0 if it does not).
      argument_bytes: of its arguments: states, data, row numbers, weights; likewise.
      state_bytes_per_parameter: size of one optimizer state without the parameters.
    """

    start: Callable[[], Runs]
    advance: Callable[[Runs, int, int], tuple[Runs, Losses]]
    points: int
    window: int
    temp_bytes: int
    argument_bytes: int
    state_bytes_per_parameter: float


def num_points(schedule: Schedule) -> int:
    """Number of evaluation points of a run, the one at step 0 included."""
    return math.ceil(schedule.steps / schedule.eval_every) + 1


def point_steps(schedule: Schedule) -> list[int]:
    """The training step at which each point is evaluated."""
    return [min(k * schedule.eval_every, schedule.steps) for k in range(num_points(schedule))]


def prepare(task: Task, batches: Batches, seeds: tuple[int, ...], schedule: Schedule) -> Start:
    """Draws initial parameters and compiles the drawing of batches."""
    keys = jnp.stack([run_key(task.name, seed) for seed in seeds])
    init = jax.vmap(lambda key: task.init_with_state(jax.random.fold_in(key, INIT)))
    points = points_per_window(batches, len(seeds), schedule)
    draw = jax.jit(partial(draw_rows, batches, schedule=schedule, points=points))
    compiled = draw.lower(keys, jnp.int32(0)).compile()
    abstract_rows = draw.eval_shape(keys, jnp.int32(0))

    def rows(number: int) -> Rows:
        return compiled(keys, jnp.int32(number * points))

    if batches.host is None:
        arrays = dict(batches.table.arrays)
        abstract = Window(abstract_rows, arrays)
        data = lru_cache(maxsize=1)(lambda number: Window(rows(number), arrays))
    else:
        abstract = abstract_window(batches.host, abstract_rows)
        data = Feed(batches.host, rows, math.ceil(num_points(schedule) / points))
    return Start(
        task=task,
        schedule=schedule,
        batches=batches,
        keys=keys,
        params=jax.jit(init)(keys),
        window=points,
        data=data,
        abstract=abstract,
    )


def compile_program(
    start: Start,
    make_optimizer: MakeOptimizer,
    theta: PyTree,
    members: Mapping[str, jax.Array],
    batching: Batching,
) -> Program:
    """Compiles the loop for one block.

    Args:
      start: what is trained, from where, on what.
      make_optimizer: traced; theta and hyperparameters are arguments of the program.
      theta: weights of a learned optimizer, or None.
      members: name -> array [members]: traced hyperparameters; {} stands for a single member.
      batching: one vmapped axis, or one run after the other.
    """
    width = len(next(iter(members.values()))) if members else 1
    hypers, table = dict(members), start.batches.table
    body = _Body(start.task, make_optimizer, start.schedule, table, batching, start.window)
    steps, zero = jnp.int32(start.schedule.steps), jnp.int32(0)

    init = jax.jit(partial(body.start, width=width)).lower(start.params, hypers, theta, steps)
    runs = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), init.out_info)
    advance = jax.jit(body.advance, donate_argnums=0)
    compiled = advance.lower(
        runs, start.keys, start.abstract, hypers, theta, steps, zero, zero
    ).compile()
    compiled_init = init.compile()

    def go(runs: Runs, first: int, count: int) -> tuple[Runs, Losses]:
        return compiled(
            runs,
            start.keys,
            start.data(first // start.window),
            hypers,
            theta,
            steps,
            jnp.int32(first),
            jnp.int32(count),
        )

    memory = compiled.memory_analysis()
    return Program(
        start=lambda: compiled_init(start.params, hypers, theta, steps),
        advance=go,
        points=num_points(start.schedule),
        window=start.window,
        temp_bytes=int(getattr(memory, "temp_size_in_bytes", 0) or 0),
        argument_bytes=int(getattr(memory, "argument_size_in_bytes", 0) or 0),
        state_bytes_per_parameter=_state_bytes_per_parameter(runs.opt_state, start.params, width),
    )


_Arrays = Mapping[str, jax.Array]


@dataclass(frozen=True)
class _Body:
    """The traced functions of a program."""

    task: Task
    make_optimizer: MakeOptimizer
    schedule: Schedule
    table: SplitTable
    batching: Batching
    window: int

    def start(
        self, params: PyTree, hypers: Any, theta: PyTree, steps: jax.Array, *, width: int
    ) -> Runs:
        def one(params_and_state: PyTree, hyper: Any) -> PyTree:
            value, state = params_and_state
            optimizer = self.make_optimizer(theta, hyper)
            return optimizer.init(value, model_state=state, num_steps=steps)

        grid = jax.vmap(one, in_axes=(None, 0), axis_size=width)
        return Runs(jax.vmap(lambda p: grid(p, hypers))(params))

    def advance(
        self,
        runs: Runs,
        keys: jax.Array,
        data: Window,
        hypers: Any,
        theta: PyTree,
        steps: jax.Array,
        first: jax.Array,
        count: jax.Array,
    ) -> tuple[Runs, Losses]:
        def seed_runs(key: jax.Array, rows: Rows, opt_states: PyTree) -> tuple[PyTree, Losses]:
            # All members of a grid see the same batches: gathered once where they are vmapped.
            run = partial(self._run, key, rows, theta, data.arrays, steps, first, count)
            return self._batched(run, (opt_states, hypers))

        opt_states, losses = self._batched(seed_runs, (keys, data.rows, runs.opt_state))
        return Runs(opt_states), losses

    def _batched(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        if self.batching == "vmap":
            return jax.vmap(function)(*args)
        return jax.lax.map(lambda packed: function(*packed), args)

    def _run(
        self,
        key: jax.Array,
        rows: Rows,
        theta: PyTree,
        arrays: _Arrays,
        steps: jax.Array,
        first: jax.Array,
        count: jax.Array,
        opt_state: PyTree,
        hyper: Any,
    ) -> tuple[PyTree, Losses]:
        """One run through `count` points from point `first`."""
        every = self.schedule.eval_every
        optimizer = self.make_optimizer(theta, hyper)
        last = (steps + every - 1) // every
        window = first - first % self.window
        window_step = jnp.minimum(window * every, steps)
        loss_key = jax.random.fold_in(key, LOSS)
        grad_fn = jax.value_and_grad(self.task.loss_with_state, has_aux=True)

        def train_step(i: jax.Array, carry: Any) -> Any:
            opt_state, losses, step = carry
            batch = gather(self.table, arrays, rows.training[step + i - window_step])
            params, state = optimizer.get_params_state(opt_state)
            step_key = jax.random.fold_in(loss_key, step + i)
            (loss, new_state), grad = grad_fn(params, state, step_key, batch)
            opt_state = optimizer.update(
                opt_state, grad, loss=loss, model_state=new_state, is_valid=False, key=step_key
            )
            return opt_state, losses.at[i].set(loss), step

        def point(k: jax.Array, carry: Any) -> Any:
            opt_state, evaluation, training = carry
            number = first + k
            step = jnp.minimum(number * every, steps)
            params, state = eval_params(optimizer, opt_state), optimizer.get_state(opt_state)
            point_key = jax.random.fold_in(jax.random.fold_in(key, EVAL_LOSS), number)
            values = self._evaluate(
                point_key, rows.evaluation, arrays, params, state, number - window, number == last
            )
            todo = jnp.where(number == last, 1, jnp.minimum(every, steps - step))
            losses = jnp.full((every,), jnp.nan)
            opt_state, losses, _ = jax.lax.fori_loop(0, todo, train_step, (opt_state, losses, step))
            return opt_state, evaluation.at[k].set(values), training.at[k].set(losses)

        evaluation = jnp.full((self.window, len(EVAL_SPLITS), 2), jnp.nan)
        training = jnp.full((self.window, every), jnp.nan)
        opt_state, evaluation, training = jax.lax.fori_loop(
            0, count, point, (opt_state, evaluation, training)
        )
        return opt_state, Losses(evaluation, training)

    def _evaluate(
        self,
        key: jax.Array,
        rows: jax.Array,
        arrays: _Arrays,
        params: PyTree,
        state: PyTree,
        place: jax.Array,
        is_last: jax.Array,
    ) -> jax.Array:
        """Mean loss and mean normalised loss by split, at this place of the window: [3, 2]."""
        s = self.schedule
        batches = jnp.where(is_last, s.last_eval_batches, s.eval_batches)

        def add(j: jax.Array, total: jax.Array) -> jax.Array:
            split, number = j // batches, j % batches
            batch = gather(self.table, arrays, rows[split, place * s.eval_batches + number])
            batch_key = jax.random.fold_in(jax.random.fold_in(key, split), number)
            loss, _ = self.task.loss_with_state(params, state, batch_key, batch)
            both = jnp.stack([loss, self.task.normalizer(loss)]).astype(total.dtype)
            return total.at[split].add(both)

        splits = len(EVAL_SPLITS)
        return jax.lax.fori_loop(0, splits * batches, add, jnp.zeros((splits, 2))) / batches


def _state_bytes_per_parameter(opt_state: PyTree, params: PyTree, width: int) -> float:
    """Bytes of the whole state less those of the parameters, for each parameter."""

    def size(tree: PyTree) -> int:
        return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))

    value, _ = params
    count = sum(math.prod(x.shape) for x in jax.tree.leaves(value))
    return (size(opt_state) / width - size(value)) / count
