"""Tasks whose gradient is estimated by evolution strategies (spec of the tasks, 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from celo import registry
from celo.data import DataSelection
from celo.protocol import Batch, ModelState, Params, PRNGKey, PyTree, Task


def build(
    *,
    name: str,
    data: DataSelection,
    task: str,
    config: Mapping[str, Any],
    pairs: int,
    deviation: float = 0.01,
) -> EvolutionTask:
    """Another task with an estimated gradient.

    Args:
      name: of the task.
      data: which data stands behind the names of data sets.
      task: string target of the other task's `build`.
      config: its keywords.
      pairs: antithetic pairs a gradient.
      deviation: of the perturbations.
    """
    inner = registry.resolve(task)(name=name, data=data, **config)
    return EvolutionTask(inner, pairs, deviation)


class EvolutionTask(Task):
    """A task with its loss, and with the mean of antithetic estimates for its gradient.

    Of each pair, eps drawn from N(0, deviation^2): eps (f(p + eps) - f(p - eps)) / (2 deviation^2),
    both losses with the key of the loss itself. Differentiable once, in reverse mode.
    """

    def __init__(self, task: Task, pairs: int, deviation: float):
        """Wraps a task.

        Args:
          task: what is trained; keeps its name, data and normalizer.
          pairs: antithetic pairs a gradient.
          deviation: of the perturbations.
        """
        self.task = task
        self.datasets = task.datasets
        self._pairs = pairs
        self._deviation = deviation

        @jax.custom_vjp
        def loss(params: Params, state: ModelState, key: PRNGKey, data: Batch) -> Any:
            return task.loss_with_state(params, state, key, data)

        def forward(*arguments: Any) -> Any:
            return loss(*arguments), arguments

        def backward(arguments: Any, cotangents: Any) -> Any:
            params, state, key, data = arguments
            estimate = self._estimate(params, state, key, data)
            grad = jax.tree.map(lambda x: x * cotangents[0], estimate)
            return grad, *map(_no_gradient, (state, key, data))

        loss.defvjp(forward, backward)
        self._loss = loss

    @property
    def name(self) -> str:
        return self.task.name

    def init(self, key: PRNGKey) -> Params:
        return self.task.init(key)

    def init_with_state(self, key: PRNGKey) -> tuple[Params, ModelState]:
        return self.task.init_with_state(key)

    def loss(self, params: Params, key: PRNGKey, data: Batch) -> jax.Array:
        return self.loss_with_state(params, None, key, data)[0]

    def loss_with_state(
        self, params: Params, state: ModelState, key: PRNGKey, data: Batch
    ) -> tuple[jax.Array, ModelState]:
        return self._loss(params, state, key, data)

    def loss_with_state_and_aux(
        self, params: Params, state: ModelState, key: PRNGKey, data: Batch
    ) -> tuple[jax.Array, ModelState, Mapping[str, jax.Array]]:
        return *self.loss_with_state(params, state, key, data), {}

    def normalizer(self, loss: jax.Array) -> jax.Array:
        return self.task.normalizer(loss)

    def _estimate(self, params: Params, state: ModelState, key: PRNGKey, data: Batch) -> PyTree:
        leaves, structure = jax.tree.flatten(params)

        def one_pair(pair_key: PRNGKey) -> PyTree:
            keys = jax.random.split(pair_key, len(leaves))
            draws = [
                self._deviation * jax.random.normal(k, leaf.shape, leaf.dtype)
                for k, leaf in zip(keys, leaves, strict=True)
            ]
            noise = structure.unflatten(draws)
            above, below = (
                self.task.loss_with_state(jax.tree.map(move, params, noise), state, key, data)[0]
                for move in (jnp.add, jnp.subtract)
            )
            slope = (above - below) / (2 * self._deviation**2)
            return jax.tree.map(lambda eps: slope * eps, noise)

        # The perturbations have a stream of their own, beside what the loss draws from its key.
        pairs = jax.random.split(jax.random.fold_in(key, _PERTURBATIONS), self._pairs)
        return jax.tree.map(lambda x: jnp.mean(x, axis=0), jax.vmap(one_pair)(pairs))


_PERTURBATIONS = 0x65730000


def _no_gradient(tree: PyTree) -> PyTree:
    """Zero cotangents; those of integers have a type of their own."""

    def zero(x: Any) -> Any:
        if jnp.issubdtype(jnp.result_type(x), jnp.floating):
            return jnp.zeros_like(x)
        return np.zeros(jnp.shape(x), jax.dtypes.float0)

    return jax.tree.map(zero, tree)
