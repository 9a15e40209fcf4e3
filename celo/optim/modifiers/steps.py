"""Modifiers of the step that the wrapped optimizer takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from celo.optim.modifiers.base import (
    Around,
    Modified,
    Reads,
    TransparentState,
    check_one_place,
    move,
    number,
    shown,
)
from celo.optim.schedules import make_schedule
from celo.protocol import ModelState, Optimizer, Params, PRNGKey, state_record
from celo.records import LEARNING_RATE_SCHEDULE
from celo.trees import check_num_steps

Multiplier = Callable[[jax.Array, jax.Array], jax.Array]
"""(update number from 0, length of the run), both int32 () -> factor of the step, float32 ()."""


def with_lrmult(optimizer: Optimizer, factor: float) -> Optimizer:
    """Multiplies every step by `factor`; the optimizer goes on from where this leads.

    Raises:
      UsageError: `factor` is not positive, or the optimizer is evaluated elsewhere than it trains.
    """
    number(factor, "the factor of +lrmult", above_zero=True)
    check_one_place(optimizer, "+lrmult")
    suffix = f"+lrmult:{shown(factor)}"
    return _MovedStep(optimizer, suffix, lambda old, new: _scaled(old, new, factor))


def with_wd(
    optimizer: Optimizer, decay: float, *, lr: float | jax.Array | Multiplier | None = None
) -> Optimizer:
    """Decoupled weight decay: besides the step, decay * lr * p is subtracted from parameters p.

    Args:
      optimizer: to be changed; neither its gradients nor its loss show the decay.
      decay: fraction, at least 0.
      lr: learning rate of the optimizer, which may be traced, or its schedule (by name: what its
        hyperparameters say); None leaves the factor out. A schedule applied after this modifier
        scales the decay as well.

    Raises:
      UsageError: `decay` is out of range, the optimizer is evaluated elsewhere than it trains, or
        `lr` is a schedule and later `init` is given no `num_steps`.
    """
    number(decay, "the factor of +wd", above_zero=False)
    check_one_place(optimizer, "+wd")
    suffix = f"+wd:{shown(decay)}"
    if callable(lr):
        return _Scheduled(optimizer, suffix, lr, lambda old, new, rate: new - decay * rate * old)
    factor = decay if lr is None else decay * lr
    return _MovedStep(optimizer, suffix, lambda old, new: new - factor * old)


def with_schedule(optimizer: Optimizer, schedule: str | Multiplier = "cosine") -> Optimizer:
    """Multiplies every step by a factor that depends on how far the run has come.

    Args:
      optimizer: to be changed; one with a schedule of its own keeps it.
      schedule: a name such as "cosine", with the defaults of `celo.records.LEARNING_RATE_SCHEDULE`,
        or a function (update number from 0, length of the run) -> factor.

    Raises:
      UsageError: no schedule has this name, the optimizer is evaluated elsewhere than it trains,
        or later `init` is given no `num_steps`.
    """
    check_one_place(optimizer, "+schedule")
    if callable(schedule):
        return _Scheduled(optimizer, "+schedule:*", schedule, _scaled)
    defaults = {h.name: h.default for h in LEARNING_RATE_SCHEDULE}
    named = make_schedule(1.0, {**defaults, "schedule": schedule})
    return _Scheduled(optimizer, f"+schedule:{schedule}", named, _scaled)


@state_record
class ScheduledState(TransparentState):
    """State of an optimizer with a schedule around it.

    Attributes:
      inner_opt_state: of the wrapped optimizer.
      num_steps: int32 (), length of the run.
    """

    inner_opt_state: Any
    num_steps: jax.Array


@dataclasses.dataclass(frozen=True, eq=False)
class _MovedStep(Modified):
    """`step` is (old, new) leaf of the parameters -> what it becomes."""

    step: Callable[[jax.Array, jax.Array], jax.Array]

    def update(
        self,
        opt_state: Any,
        grad: Params,
        loss: jax.Array | None = None,
        model_state: ModelState = None,
        key: PRNGKey | None = None,
        is_valid: bool | jax.Array = False,
        **kwargs: Any,
    ) -> Any:
        new = self.inner.update(
            opt_state,
            grad,
            loss=loss,
            model_state=model_state,
            key=key,
            is_valid=is_valid,
            **kwargs,
        )
        return move(self.inner, opt_state, new, self.step)


@dataclasses.dataclass(frozen=True, eq=False)
class _Scheduled(Around):
    """`step` is (old, new) leaf of the parameters and the multiplier -> what it becomes."""

    multiplier: Multiplier
    step: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]

    own_reads: ClassVar[Reads] = ("num_steps",)

    def init(
        self,
        params: Params,
        model_state: ModelState = None,
        num_steps: int | jax.Array | None = None,
        key: PRNGKey | None = None,
        **kwargs: Any,
    ) -> ScheduledState:
        check_num_steps(num_steps, self.name)
        inner = super().init(params, model_state, num_steps, key, **kwargs)
        # A copy: the state may be donated, the caller's array must survive.
        return ScheduledState(inner, jnp.array(num_steps, jnp.int32))

    def update(
        self,
        opt_state: ScheduledState,
        grad: Params,
        loss: jax.Array | None = None,
        model_state: ModelState = None,
        key: PRNGKey | None = None,
        is_valid: bool | jax.Array = False,
        **kwargs: Any,
    ) -> ScheduledState:
        old = opt_state.inner_opt_state
        new = self.inner.update(
            old, grad, loss=loss, model_state=model_state, key=key, is_valid=is_valid, **kwargs
        )
        factor = self.multiplier(opt_state.iteration, opt_state.num_steps)
        moved = move(self.inner, old, new, lambda p, q: self.step(p, q, factor))
        return ScheduledState(moved, opt_state.num_steps)


def _scaled(old: jax.Array, new: jax.Array, factor: Any) -> jax.Array:
    return old + factor * (new - old)
