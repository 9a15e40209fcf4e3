"""Calls whose numbers are no numbers are ignored."""

from __future__ import annotations

import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp

from celo.optim.modifiers.base import Around, TransparentState
from celo.protocol import ModelState, Optimizer, Params, PRNGKey, state_record
from celo.trees import cast_like


def with_skip_nonfinite(optimizer: Optimizer) -> Optimizer:
    """Ignores calls whose loss or gradient has a NaN or infinite element, and counts them.

    Such a call changes nothing but the count: parameters, model state, accumulators and the
    number of updates stay. Losses that are not given are not looked at.
    """
    return _Skipping(optimizer, "+skip-nonfinite")


@state_record
class SkippingState(TransparentState):
    """State of an optimizer that ignores what is not finite.

    Attributes:
      inner_opt_state: of the wrapped optimizer.
      skipped: int32 (), calls ignored so far.
    """

    inner_opt_state: Any
    skipped: jax.Array


class _Skipping(Around):
    def init(
        self,
        params: Params,
        model_state: ModelState = None,
        num_steps: int | jax.Array | None = None,
        key: PRNGKey | None = None,
        **kwargs: Any,
    ) -> SkippingState:
        inner = super().init(params, model_state, num_steps, key, **kwargs)
        return SkippingState(inner, jnp.zeros((), jnp.int32))

    def update(
        self,
        opt_state: SkippingState,
        grad: Params,
        loss: jax.Array | None = None,
        model_state: ModelState = None,
        key: PRNGKey | None = None,
        is_valid: bool | jax.Array = False,
        **kwargs: Any,
    ) -> SkippingState:
        old = opt_state.inner_opt_state
        new = self.inner.update(
            old, grad, loss=loss, model_state=model_state, key=key, is_valid=is_valid, **kwargs
        )
        good = _finite((grad, loss))
        # A selection, not `cond`: good calls are the rule, and under vmap it is one anyway.
        kept = jax.tree.map(lambda n, o: jnp.where(good, n, o), new, old)
        return SkippingState(
            cast_like(kept, old), opt_state.skipped + jnp.where(good, 0, 1).astype(jnp.int32)
        )


def _finite(tree: Any) -> jax.Array:
    tests = (jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree))
    return functools.reduce(operator.and_, tests, jnp.asarray(True))
