"""Inner training as a problem for estimators: a learned optimizer trains networks, over and over.

One step of a particle is a training step, or the start of the next unroll where the last step ended
one. Everything random of a window (rows of the batches, the next initial parameters, lengths,
scales) is drawn before it starts, once for both signs of a pair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from celo.data.sampling import gather
from celo.estimators.protocol import Draws, StepOutput
from celo.metatrain.lengths import Lengths
from celo.metatrain.pools import Pool
from celo.protocol import LearnedOptimizer, Params, PRNGKey, PyTree, TaskFamily, state_record

_ENDLESS = 2**31 - 1


@state_record
class InnerState:
    """An inner training run.

    Attributes:
      opt_state: of the optimizer, the parameters inside.
      inner_step: int32 (), training steps since the start of the unroll, the offset included.
      length: int32 (), at which the unroll ends; once it has, that of the next one.
      task_param: configuration of the task.
      is_done: bool (), the last step ended the unroll.
    """

    opt_state: PyTree
    inner_step: jax.Array
    length: jax.Array
    task_param: PyTree
    is_done: jax.Array


@state_record
class _Start:
    """Draws for the start of an unroll."""

    task_param: PyTree
    params: Params
    model_state: PyTree
    opt_key: PRNGKey


@dataclass(frozen=True)
class InnerTraining:
    """Particles that train the tasks of one group of families.

    Attributes:
      lopt: the learned optimizer.
      family: the tasks; their parameters and batches have the same shapes in all families.
      pool: the training rows of all families of the group.
      arrays: the pool's arrays, traced, so that they are no constants of the program.
      particles_per_family: independent inner problems a family; families come one after the other.
      lengths: how long unrolls are.
      meta_loss: from a loss and the task to what is minimised; not differentiated.
    """

    lopt: LearnedOptimizer
    family: TaskFamily
    pool: Pool
    arrays: Any
    particles_per_family: int
    lengths: Lengths
    meta_loss: Callable[[jax.Array, Any, jax.Array, jax.Array], jax.Array]

    @property
    def particles(self) -> int:
        return self.particles_per_family * self.pool.families

    def optimizer(self, theta: PyTree) -> Any:
        return self.lopt.opt_fn(theta, is_training=True)

    def init(self, theta: PyTree, key: PRNGKey, particle: jax.Array) -> InnerState:
        start_key, length_key, offset_key = jax.random.split(key, 3)
        start = self._draw_start(start_key)
        state = self._begin(theta, start, self.lengths.sample(length_key), start.opt_key)
        # Only the counter is shifted: the unroll is cut short, the optimizer starts at its start.
        return replace(state, inner_step=self.lengths.sample_offset(offset_key))

    def draw(self, key: PRNGKey, particle: jax.Array, steps: int) -> Draws:
        rows_key, step_key, start_key, length_key = jax.random.split(key, 4)
        # Unrolls are at least `shortest` steps long and one more to start, so that so many slots
        # hold at most one start each.
        spacing = self.lengths.shortest + 1
        slots = -(-steps // spacing)
        constants = {
            "start": jax.vmap(self._draw_start)(jax.random.split(start_key, slots)),
            "length": jax.vmap(self.lengths.sample)(jax.random.split(length_key, slots)),
        }
        inputs = {
            "rows": self.pool.draw_rows(rows_key, self._family(particle), steps),
            "key": jax.random.split(step_key, steps),
            "slot": jnp.arange(steps, dtype=jnp.int32) // spacing,
        }
        return Draws(constants, inputs)

    def step(
        self, theta: PyTree, state: InnerState, constants: PyTree, inputs: PyTree
    ) -> tuple[InnerState, StepOutput]:
        train_key, opt_key = jax.random.split(inputs["key"])
        chosen = jax.tree.map(lambda x: _slot(x, inputs["slot"]), constants)
        batch = gather(self.pool.table, self.arrays, inputs["rows"])
        trained, loss = self._train(theta, state, batch, train_key, opt_key)
        fresh = self._begin(theta, chosen["start"], state.length, chosen["start"].opt_key)
        new = jax.tree.map(lambda f, t: jnp.where(state.is_done, f, t), fresh, trained)
        done = new.inner_step >= new.length
        new = replace(new, length=jnp.where(done, chosen["length"], new.length), is_done=done)
        loss = jnp.where(state.is_done, 0.0, loss)
        task = self.family.task_fn(state.task_param)
        value = self.meta_loss(loss, task, new.inner_step, state.length)
        return new, StepOutput(value, jnp.logical_not(state.is_done), done)

    def sample_length(self, key: PRNGKey) -> jax.Array:
        return self.lengths.sample(key)

    def begin(
        self, theta: PyTree, key: PRNGKey, particle: jax.Array, length: jax.Array
    ) -> InnerState:
        start_key, opt_key = jax.random.split(key)
        state = self._begin(theta, self._draw_start(start_key), length, opt_key)
        return replace(state, length=jnp.full((), _ENDLESS, jnp.int32))

    def final_loss(
        self, theta: PyTree, state: InnerState, key: PRNGKey, particle: jax.Array, samples: int
    ) -> jax.Array:
        rows_key, loss_key = jax.random.split(key)
        rows = self.pool.draw_rows(rows_key, self._family(particle), samples)
        optimizer = self.optimizer(theta)
        task = self.family.task_fn(state.task_param)
        params, model_state = optimizer.get_params_state(state.opt_state)

        def add(total: jax.Array, x: Any) -> tuple[jax.Array, None]:
            rows, key = x
            batch = gather(self.pool.table, self.arrays, rows)
            loss, _ = task.loss_with_state(params, model_state, key, batch)
            return total + self.meta_loss(loss, task, state.inner_step, state.inner_step), None

        keys = jax.random.split(loss_key, samples)
        return jax.lax.scan(add, jnp.zeros(()), (rows, keys))[0] / samples

    def _family(self, particle: jax.Array) -> jax.Array:
        return particle // self.particles_per_family

    def _draw_start(self, key: PRNGKey) -> _Start:
        task_key, init_key, opt_key = jax.random.split(key, 3)
        cfg = self.family.sample(task_key)
        params, model_state = self.family.task_fn(cfg).init_with_state(init_key)
        return _Start(cfg, params, model_state, opt_key)

    def _begin(self, theta: PyTree, start: _Start, length: jax.Array, key: PRNGKey) -> InnerState:
        opt_state = self.optimizer(theta).init(
            start.params, model_state=start.model_state, num_steps=length, key=key
        )
        zero = jnp.zeros((), jnp.int32)
        return InnerState(opt_state, zero, length, start.task_param, jnp.array(False))

    def _train(
        self, theta: PyTree, state: InnerState, batch: Any, key: PRNGKey, opt_key: PRNGKey
    ) -> tuple[InnerState, jax.Array]:
        """A training step and the loss before it."""
        optimizer = self.optimizer(theta)
        task = self.family.task_fn(state.task_param)
        params, model_state = optimizer.get_params_state(state.opt_state)
        gradient = jax.value_and_grad(task.loss_with_state, has_aux=True)
        (loss, model_state), grad = gradient(params, model_state, key, batch)
        opt_state = optimizer.update(
            state.opt_state, grad, loss=loss, model_state=model_state, key=opt_key
        )
        return replace(state, opt_state=opt_state, inner_step=state.inner_step + 1), loss


def _slot(x: jax.Array, number: jax.Array) -> jax.Array:
    return x[0] if x.shape[0] == 1 else x[number]
