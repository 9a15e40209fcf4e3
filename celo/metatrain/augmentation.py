"""Re-parametrisation: the same task with its parameters on other scales.

With scales s the wrapped task starts at init / s and has the loss f(p * s): the same function, but
the optimizer sees gradients s times as large and parameters 1/s times. A scale is constant along an
unroll and drawn anew for the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from celo.metatrain.augmentation_text import LIST_LEVELS, LIST_RANGES, Augmentation
from celo.protocol import Batch, ModelState, Params, PRNGKey, PyTree, Task, TaskFamily


class ReparametrisedTask(Task):
    """A task whose parameters are divided by scales.

    Args:
      task: the task itself; datasets, state, auxiliary values and normalizer pass through.
      scales: positive; a scalar, or a tree like the parameters (leaves broadcast to theirs).
    """

    def __init__(self, task: Any, scales: PyTree):
        self.task = task
        self.datasets = task.datasets
        self.scales = scales

    @property
    def name(self) -> str:
        return self.task.name

    def init(self, key: PRNGKey) -> Params:
        return self.init_with_state(key)[0]

    def init_with_state(self, key: PRNGKey) -> tuple[Params, ModelState]:
        params, state = self.task.init_with_state(key)
        return jax.tree.map(jnp.divide, params, self._scales(params)), state

    def loss(self, params: Params, key: PRNGKey, data: Batch) -> jax.Array:
        return self.task.loss(self._scaled(params), key, data)

    def loss_and_aux(
        self, params: Params, key: PRNGKey, data: Batch
    ) -> tuple[jax.Array, Mapping[str, jax.Array]]:
        return self.task.loss_and_aux(self._scaled(params), key, data)

    def loss_with_state(
        self, params: Params, state: ModelState, key: PRNGKey, data: Batch
    ) -> tuple[jax.Array, ModelState]:
        return self.task.loss_with_state(self._scaled(params), state, key, data)

    def loss_with_state_and_aux(
        self, params: Params, state: ModelState, key: PRNGKey, data: Batch
    ) -> tuple[jax.Array, ModelState, Mapping[str, jax.Array]]:
        return self.task.loss_with_state_and_aux(self._scaled(params), state, key, data)

    def normalizer(self, loss: jax.Array) -> jax.Array:
        return self.task.normalizer(loss)

    def _scaled(self, params: Params) -> Params:
        return jax.tree.map(jnp.multiply, params, self._scales(params))

    def _scales(self, params: Params) -> PyTree:
        if jax.tree.structure(self.scales) == jax.tree.structure(0):
            return jax.tree.map(lambda _: self.scales, params)
        return self.scales


@dataclass(frozen=True)
class ReparametrisedFamily(TaskFamily):
    """Tasks of a family on random scales.

    Attributes:
      family: what is wrapped.
      augmentation: how scales are drawn.
    """

    family: TaskFamily
    augmentation: Augmentation

    @property
    def datasets(self) -> Any:
        return self.family.datasets

    @property
    def name(self) -> str:
        return f"ReparamWeights{self.augmentation.level}_{self.family.name}"

    def sample(self, key: PRNGKey) -> PyTree:
        """The configuration of the inner task, and scales (level parameter: the key of them)."""
        inner_key, scale_key = jax.random.split(key)
        inner = self.family.sample(inner_key)
        return {"inner": inner, "scales": self._sample_scales(scale_key, inner)}

    def task_fn(self, cfg: PyTree) -> Task:
        task = self.family.task_fn(cfg["inner"])
        return ReparametrisedTask(task, self._scales(task, cfg["scales"]))

    def _sample_scales(self, key: PRNGKey, inner: PyTree) -> PyTree:
        a = self.augmentation
        if a.level == "global":
            return _log_uniform(key, (), a.low, a.high)
        if a.level == "tensor":
            template = _parameters(self.family.task_fn(inner))
            return _each_leaf(key, template, lambda k, x: _log_uniform(k, (), a.low, a.high))
        # Only what the scales are made of is kept: they would be another copy of the parameters.
        return key

    def _scales(self, task: Task, sampled: PyTree) -> PyTree:
        a = self.augmentation
        if a.level in ("global", "tensor"):
            return sampled
        template = _parameters(task)
        if a.level == "parameter":
            return _each_leaf(
                sampled, template, lambda k, x: _log_uniform(k, x.shape, a.low, a.high)
            )
        return _list_scales(sampled, template)


def augmented(family: TaskFamily, augmentation: Augmentation | None) -> TaskFamily:
    """The family on random scales, or itself where there is no augmentation."""
    return family if augmentation is None else ReparametrisedFamily(family, augmentation)


def _list_scales(key: PRNGKey, template: PyTree) -> PyTree:
    """Scales of a level and a range that are drawn, too."""
    level_key, range_key, key = jax.random.split(key, 3)
    level = jnp.asarray(LIST_LEVELS)[jax.random.randint(level_key, (), 0, len(LIST_LEVELS))]
    low, high = jnp.asarray(LIST_RANGES)[jax.random.randint(range_key, (), 0, len(LIST_RANGES))]
    each = _log_uniform(key, (), low, high)
    tensor = _each_leaf(key, template, lambda k, x: _log_uniform(k, (), low, high))
    single = _each_leaf(key, template, lambda k, x: _log_uniform(k, x.shape, low, high))

    def chosen(tensor: jax.Array, single: jax.Array) -> jax.Array:
        values = [jnp.ones(()), each, tensor, single]
        return jax.lax.select_n(level, *(jnp.broadcast_to(v, single.shape) for v in values))

    return jax.tree.map(chosen, tensor, single)


def _parameters(task: Task) -> PyTree:
    return jax.eval_shape(task.init_with_state, jax.random.PRNGKey(0))[0]


def _each_leaf(key: PRNGKey, template: PyTree, draw: Any) -> PyTree:
    leaves, structure = jax.tree.flatten(template)
    keys = jax.random.split(key, len(leaves))
    return structure.unflatten([draw(k, x) for k, x in zip(keys, leaves, strict=True)])


def _log_uniform(key: PRNGKey, shape: tuple[int, ...], low: Any, high: Any) -> jax.Array:
    return jnp.exp(jax.random.uniform(key, shape, minval=jnp.log(low), maxval=jnp.log(high)))
