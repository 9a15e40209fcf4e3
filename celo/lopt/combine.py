"""Learned optimizers made of others: a fixed optimizer as one, and the sum of several."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from celo.errors import UsageError
from celo.protocol import (
    LearnedOptimizer,
    MetaParams,
    ModelState,
    Optimizer,
    Params,
    PRNGKey,
    state_record,
)
from celo.trees import cast_like, check_float_leaves, check_gradients


def learned_optimizer_from_opt(optimizer: Optimizer) -> LearnedOptimizer:
    """An optimizer without meta-parameters as a learned one: theta is None."""
    return _Fixed(optimizer)


@dataclasses.dataclass(frozen=True, eq=False)
class _Fixed(LearnedOptimizer):
    optimizer: Optimizer

    @property
    def name(self) -> str:
        return self.optimizer.name

    def init(self, key: PRNGKey) -> MetaParams:
        return None

    def opt_fn(self, theta: MetaParams, is_training: bool = False) -> Optimizer:
        return self.optimizer


@state_record
class SumState:
    """State of a run.

    Attributes:
      params: the parameters being trained.
      state: the task's model state, carried untouched.
      iteration: int32 (), updates done.
      inner_opt_states: of each summand, without parameters and model state.
    """

    params: Params
    state: ModelState
    iteration: jax.Array
    inner_opt_states: tuple[Any, ...]


class SumLearnedOptimizer(LearnedOptimizer):
    """Takes the sum of the steps that several learned optimizers would take.

    Every summand sees the same gradients and the parameters that all have reached together. Theta
    is a dictionary, `inner_lopt_theta_0` and so on.

    Args:
      lopts: the summands, at least one.

    Raises:
      UsageError: there is none.
    """

    def __init__(self, lopts: Sequence[LearnedOptimizer]):
        if not lopts:
            raise UsageError(
                "SumLearnedOptimizer got no learned optimizer, expected at least one",
                hint="Pass a list: SumLearnedOptimizer([first, second]).",
            )
        self.lopts = tuple(lopts)

    @property
    def name(self) -> str:
        return "+".join(lopt.name or type(lopt).__name__ for lopt in self.lopts)

    def init(self, key: PRNGKey) -> MetaParams:
        keys = jax.random.split(key, len(self.lopts))
        return {_part(i): lopt.init(keys[i]) for i, lopt in enumerate(self.lopts)}

    def opt_fn(self, theta: MetaParams, is_training: bool = False) -> Optimizer:
        parts = [
            lopt.opt_fn(theta[_part(i)], is_training=is_training)
            for i, lopt in enumerate(self.lopts)
        ]
        return _SumOptimizer(self.name, tuple(parts))


def _part(i: int) -> str:
    return f"inner_lopt_theta_{i}"


@dataclasses.dataclass(frozen=True, eq=False)
class _SumOptimizer(Optimizer):
    label: str
    parts: tuple[Optimizer, ...]

    @property
    def name(self) -> str:
        return self.label

    def init(
        self,
        params: Params,
        model_state: ModelState = None,
        num_steps: int | jax.Array | None = None,
        key: PRNGKey | None = None,
        **kwargs: Any,
    ) -> SumState:
        check_float_leaves(params, self.name)
        params = cast_like(params, params)
        inner = [
            part.init(params, num_steps=num_steps, key=part_key, **kwargs)
            for part, part_key in zip(self.parts, self._keys(key), strict=True)
        ]
        return SumState(
            params=params,
            state=model_state,
            iteration=jnp.zeros((), jnp.int32),
            inner_opt_states=tuple(state.replace(params=()) for state in inner),
        )

    def update(
        self,
        opt_state: SumState,
        grad: Params,
        loss: jax.Array | None = None,
        model_state: ModelState = None,
        key: PRNGKey | None = None,
        is_valid: bool | jax.Array = False,
        **kwargs: Any,
    ) -> SumState:
        old = opt_state.params
        check_gradients(old, grad, self.name)
        inner = [
            part.update(
                part.set_params(state, old), grad, loss=loss, key=k, is_valid=is_valid, **kwargs
            )
            for part, state, k in zip(
                self.parts, opt_state.inner_opt_states, self._keys(key), strict=True
            )
        ]
        moved = old
        for part, state in zip(self.parts, inner, strict=True):
            step = jax.tree.map(jnp.subtract, part.get_params(state), old)
            moved = jax.tree.map(jnp.add, moved, step)
        return SumState(
            params=cast_like(moved, old),
            state=model_state,
            iteration=opt_state.iteration + 1,
            inner_opt_states=tuple(state.replace(params=()) for state in inner),
        )

    def _keys(self, key: PRNGKey | None) -> list[PRNGKey | None]:
        if key is None:
            return [None] * len(self.parts)
        return list(jax.random.split(key, len(self.parts)))
