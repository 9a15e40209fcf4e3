"""Gradient accumulation: one update in several calls."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from celo.errors import UsageError
from celo.optim.modifiers.base import Around, WrappedState
from celo.protocol import ModelState, Optimizer, Params, PRNGKey, state_record
from celo.trees import cast_like, check_gradients, check_model_state


def with_accumulate(optimizer: Optimizer, calls: int) -> Optimizer:
    """Updates once in `calls` calls, with the mean gradient and the mean loss of these.

    The wrapped optimizer is told that the run has num_steps // calls steps. Sums are kept in at
    least float32. Key and `is_valid` are those of the call that updates.

    Raises:
      UsageError: `calls` is no whole number of at least 1.
    """
    if isinstance(calls, bool) or not isinstance(calls, int) or calls < 1:
        raise UsageError(f"+accumulate needs a whole number of at least 1, got {calls!r}")
    return _Accumulating(optimizer, f"+accumulate:{calls}", calls)


@state_record
class AccumulatedState(WrappedState):
    """State of an optimizer that updates once in a while.

    Attributes:
      inner_opt_state: of the wrapped optimizer; its model state is that of its last update.
      grad_accum: sums of gradients since then, in at least float32.
      loss_accum: float32 (), sum of losses since then.
      iteration: int32 (), calls so far.
      model_state: the task's, of the last call; `state` is another name for it.
    """

    inner_opt_state: Any
    grad_accum: Params
    loss_accum: jax.Array
    iteration: jax.Array
    model_state: ModelState

    @property
    def state(self) -> ModelState:
        return self.model_state

    def replace(self, **changes: Any) -> Any:
        if "state" in changes:
            changes["model_state"] = changes.pop("state")
        return super().replace(**changes)


@dataclasses.dataclass(frozen=True, eq=False)
class _Accumulating(Around):
    calls: int

    def init(
        self,
        params: Params,
        model_state: ModelState = None,
        num_steps: int | jax.Array | None = None,
        key: PRNGKey | None = None,
        **kwargs: Any,
    ) -> AccumulatedState:
        inner_steps = None
        if isinstance(num_steps, int):
            # A run too short for one update still needs a length.
            inner_steps = max(num_steps // self.calls, 1)
        elif num_steps is not None:
            inner_steps = jnp.maximum(jnp.asarray(num_steps) // self.calls, 1)
        # Copies, so that the whole state may be donated.
        inner = super().init(
            params, jax.tree.map(jnp.copy, model_state), inner_steps, key, **kwargs
        )
        return AccumulatedState(
            inner_opt_state=inner,
            grad_accum=jax.tree.map(_zeros, params),
            loss_accum=jnp.zeros(()),
            iteration=jnp.zeros((), jnp.int32),
            model_state=model_state,
        )

    def update(
        self,
        opt_state: AccumulatedState,
        grad: Params,
        loss: jax.Array | None = None,
        model_state: ModelState = None,
        key: PRNGKey | None = None,
        is_valid: bool | jax.Array = False,
        **kwargs: Any,
    ) -> AccumulatedState:
        params = self.get_params(opt_state)
        check_gradients(params, grad, self.name)
        check_model_state(model_state, opt_state.model_state, self.name)
        valid = None if is_valid is False else jnp.asarray(is_valid, bool)
        # Unknown keywords may be functions, which a compiled step does not take.
        step = functools.partial(self._step, **kwargs) if kwargs else self._compiled_step
        return step(opt_state, grad, loss, model_state, key, valid)

    @functools.cached_property
    def _compiled_step(self) -> Callable[..., AccumulatedState]:
        # A `cond` outside of compiled code would be compiled anew at every call.
        return jax.jit(self._step)

    def _step(
        self,
        opt_state: AccumulatedState,
        grad: Params,
        loss: jax.Array | None,
        model_state: ModelState,
        key: PRNGKey | None,
        is_valid: jax.Array | None,
        **kwargs: Any,
    ) -> AccumulatedState:
        model_state = cast_like(model_state, opt_state.model_state, "the new model state")
        grads = jax.tree.map(lambda s, g: s + g.astype(s.dtype), opt_state.grad_accum, grad)
        losses = opt_state.loss_accum + (0.0 if loss is None else loss)
        inner = opt_state.inner_opt_state
        done = opt_state.iteration + 1

        def update() -> Any:
            mean = cast_like(jax.tree.map(lambda s: s / self.calls, grads), grad)
            new = self.inner.update(
                inner,
                mean,
                loss=None if loss is None else losses / self.calls,
                model_state=model_state,
                key=key,
                is_valid=False if is_valid is None else is_valid,
                **kwargs,
            )
            new = cast_like(new, inner)
            return new, jax.tree.map(jnp.zeros_like, grads), jnp.zeros_like(losses)

        inner, grads, losses = jax.lax.cond(
            done % self.calls == 0, update, lambda: (inner, grads, losses)
        )
        return AccumulatedState(inner, grads, losses.astype(jnp.float32), done, model_state)

    def get_state(self, opt_state: AccumulatedState) -> ModelState:
        return opt_state.model_state


def _zeros(leaf: Any) -> jax.Array:
    return jnp.zeros(jnp.shape(leaf), jnp.promote_types(jnp.result_type(leaf), jnp.float32))
