"""Tasks whose parameters are the weights of a learned optimizer (spec of the tasks, 1.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from celo import registry
from celo.data import DataSelection
from celo.data.datasets import stacked
from celo.protocol import Batch, LearnedOptimizer, ModelState, Params, PRNGKey, Task


def build(
    *,
    name: str,
    data: DataSelection,
    optimizer: str,
    task: str,
    config: Mapping[str, Any],
    inner_steps: int,
) -> OptimizerTask:
    """Trains a learned optimizer by back-propagation through whole inner runs.

    Args:
      name: of the task.
      data: which data stands behind the names of data sets.
      optimizer: name of the registered learned optimizer, with its default hyperparameters.
      task: string target of the `build` of the task that it trains.
      config: keywords of that.
      inner_steps: of each inner run; a batch is this many of the inner task's.

    Raises:
      UnknownNameError: no optimizer has this name.
      BrokenPluginError: it cannot be imported.
    """
    record = registry.optimizer(optimizer, registry.FIRST_PARTY).record
    learned: LearnedOptimizer = registry.resolve(record.build)()
    inner = registry.resolve(task)(name=name, data=data, **config)
    return OptimizerTask(name, learned, inner, inner_steps)


class InnerRun(NamedTuple):
    """What an inner run gives.

    Attributes:
      losses: float32 [steps], each before its update.
      params: of the inner task, after the last update.
    """

    losses: jax.Array
    params: Params


class OptimizerTask(Task):
    """The mean normalised loss of an inner run, as a function of the optimizer's weights.

    A batch has the inner batches of all steps stacked in front: leaves [steps, batch, ...].
    """

    def __init__(self, name: str, optimizer: LearnedOptimizer, task: Task, inner_steps: int):
        """Touches no data yet.

        Args:
          name: as shown everywhere.
          optimizer: whose weights are trained.
          task: what it trains in the inner runs.
          inner_steps: of an inner run.
        """
        self.datasets = stacked(task.datasets, inner_steps)
        self._name = name
        self.optimizer = optimizer
        self.inner = task
        self._steps = inner_steps
        self._mean_loss = jax.jit(self._loss)  # traced once for all that asks for it

    @property
    def name(self) -> str:
        return self._name

    def init(self, key: PRNGKey) -> Params:
        return self.optimizer.init(key)

    def loss(self, params: Params, key: PRNGKey, data: Batch) -> jax.Array:
        return self._mean_loss(params, key, data)

    def _loss(self, params: Params, key: PRNGKey, data: Batch) -> jax.Array:
        init_key, run_key = jax.random.split(key)
        run = self.inner_run(params, self.inner.init_with_state(init_key), run_key, data)
        return jnp.mean(self.normalizer(run.losses))

    def inner_run(
        self, theta: Params, start: tuple[Params, ModelState], key: PRNGKey, data: Batch
    ) -> InnerRun:
        """Trains the inner task from given parameters.

        Args:
          theta: weights of the optimizer.
          start: parameters and model state of the inner task.
          key: of its losses.
          data: the batches of all steps.
        """
        optimizer = self.optimizer.opt_fn(theta)
        value_and_grad = jax.value_and_grad(self.inner.loss_with_state, has_aux=True)

        # Kept for the way back is one optimizer state a step; the rest is computed again.
        @jax.checkpoint
        def step(opt_state: Any, inputs: tuple[PRNGKey, Batch]) -> tuple[Any, jax.Array]:
            step_key, batch = inputs
            params, state = optimizer.get_params_state(opt_state)
            (loss, new_state), grad = value_and_grad(params, state, step_key, batch)
            opt_state = optimizer.update(
                opt_state, grad, loss=loss, model_state=new_state, key=step_key
            )
            return opt_state, loss

        params, state = start
        first = optimizer.init(params, model_state=state, num_steps=self._steps)
        keys = jax.random.split(key, self._steps)
        last, losses = jax.lax.scan(step, first, (keys, data))
        return InnerRun(losses, optimizer.get_params(last))

    def normalizer(self, loss: jax.Array) -> jax.Array:
        return self.inner.normalizer(loss)
