"""Grafting: the direction of one optimizer, the step length of another one."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from celo.optim.modifiers.base import Modified, Reads, check_one_place
from celo.optim.modifiers.gradients import global_norm
from celo.protocol import ModelState, Optimizer, Params, PRNGKey, state_record
from celo.trees import cast_like


def with_graft(optimizer: Optimizer, magnitude: Optimizer) -> Optimizer:
    """Steps into the direction of `optimizer`, as far as `magnitude` would have gone.

    Both see the same gradients, losses and parameters. The length is the Euclidean norm over all
    leaves; where the direction has length 0, no step is taken.

    Raises:
      UsageError: one of them is evaluated at other parameters than it trains.
    """
    for one in (optimizer, magnitude):
        check_one_place(one, "+graft")
    return _Grafted(optimizer, f"+graft:{magnitude.name}", magnitude)


@state_record
class GraftedState:
    """State of two optimizers at the same parameters.

    Attributes:
      iteration: int32 (), updates done.
      params: the parameters being trained.
      state: the task's model state, carried untouched.
      mag_opt_state: of the optimizer that gives the length; holds the parameters once more.
      dir_opt_state: of the optimizer that gives the direction; likewise.
    """

    iteration: jax.Array
    params: Params
    state: ModelState
    mag_opt_state: Any
    dir_opt_state: Any

    def replace(self, **changes: Any) -> GraftedState:
        """The state with other values; parameters and model state also in both inner states."""
        for part in ("mag_opt_state", "dir_opt_state"):
            if part not in changes:
                shared = {k: _copy(v) for k, v in changes.items() if k in ("params", "state")}
                changes[part] = getattr(self, part).replace(**shared)
        return dataclasses.replace(self, **changes)


@dataclasses.dataclass(frozen=True, eq=False)
class _Grafted(Modified):
    """`inner` gives the direction, `magnitude` the length."""

    magnitude: Optimizer

    @property
    def reads(self) -> Reads:
        return tuple(dict.fromkeys((*super().reads, *getattr(self.magnitude, "reads", ()))))

    def init(
        self,
        params: Params,
        model_state: ModelState = None,
        num_steps: int | jax.Array | None = None,
        key: PRNGKey | None = None,
        **kwargs: Any,
    ) -> GraftedState:
        # Copies, so that the whole state may be donated.
        mag, dir_ = (
            optimizer.init(
                _copy(params),
                model_state=_copy(model_state),
                num_steps=num_steps,
                key=key,
                **kwargs,
            )
            for optimizer in (self.magnitude, self.inner)
        )
        return GraftedState(
            iteration=jnp.zeros((), jnp.int32),
            params=cast_like(params, params),
            state=model_state,
            mag_opt_state=mag,
            dir_opt_state=dir_,
        )

    def update(
        self,
        opt_state: GraftedState,
        grad: Params,
        loss: jax.Array | None = None,
        model_state: ModelState = None,
        key: PRNGKey | None = None,
        is_valid: bool | jax.Array = False,
        **kwargs: Any,
    ) -> GraftedState:
        old = opt_state.params
        mag, dir_ = (
            optimizer.update(
                optimizer.set_params(state, old),
                grad,
                loss=loss,
                model_state=model_state,
                key=key,
                is_valid=is_valid,
                **kwargs,
            )
            for optimizer, state in (
                (self.magnitude, opt_state.mag_opt_state),
                (self.inner, opt_state.dir_opt_state),
            )
        )
        length = global_norm(_step(old, self.magnitude.get_params(mag)))
        direction = _step(old, self.inner.get_params(dir_))
        norm = global_norm(direction)
        factor = jnp.where(norm == 0, 0.0, length / jnp.where(norm == 0, 1.0, norm))
        new = cast_like(jax.tree.map(lambda p, d: p + factor * d, old, direction), old)
        return GraftedState(
            iteration=opt_state.iteration + 1,
            params=new,
            state=model_state,
            mag_opt_state=self.magnitude.set_params(mag, new),
            dir_opt_state=self.inner.set_params(dir_, new),
        )

    def get_params(self, opt_state: GraftedState) -> Params:
        return opt_state.params

    def get_eval_params(self, opt_state: GraftedState) -> Params:
        return opt_state.params

    def get_state(self, opt_state: GraftedState) -> ModelState:
        return opt_state.state

    def set_params(self, opt_state: GraftedState, params: Params) -> GraftedState:
        return dataclasses.replace(
            opt_state,
            params=params,
            mag_opt_state=self.magnitude.set_params(opt_state.mag_opt_state, _copy(params)),
            dir_opt_state=self.inner.set_params(opt_state.dir_opt_state, _copy(params)),
        )


def _step(old: Params, new: Params) -> Params:
    return jax.tree.map(jnp.subtract, new, old)


def _copy(tree: Any) -> Any:
    return jax.tree.map(jnp.copy, tree)
