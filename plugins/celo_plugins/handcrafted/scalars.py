"""Scalars as vectors of length one, for transformations that need an axis."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from celo.optim import OptaxState
from celo.protocol import ModelState, Optimizer, Params, PRNGKey, state_record
from celo.trees import check_float_leaves, check_gradients


@state_record
class ReshapedState(OptaxState):
    """State of a run; leaves of rank 0 have an axis of size 1 in `params`.

    Attributes:
      should_reshape: which leaves have that axis, in flattening order; part of the structure.
    """

    should_reshape: tuple[bool, ...] = dataclasses.field(default=(), metadata={"static": True})


class ScalarsAsVectors(Optimizer):
    """An optimizer that sees every leaf of rank 0 as a vector of length one.

    Args:
      inner: made by `celo.optim.from_optax`.
    """

    def __init__(self, inner: Optimizer):
        self._inner = inner
        self.reads = getattr(inner, "reads", ())

    @property
    def name(self) -> str:
        return self._inner.name

    def init(
        self,
        params: Params,
        model_state: ModelState = None,
        num_steps: int | jax.Array | None = None,
        key: PRNGKey | None = None,
        **kwargs: Any,
    ) -> ReshapedState:
        check_float_leaves(params, self.name)
        scalars = tuple(jnp.ndim(leaf) == 0 for leaf in jax.tree.leaves(params))
        state = self._inner.init(_expand(params, scalars), model_state, num_steps, key)
        fields = {f.name: getattr(state, f.name) for f in dataclasses.fields(state)}
        return ReshapedState(**fields, should_reshape=scalars)

    def update(
        self,
        opt_state: ReshapedState,
        grad: Params,
        loss: jax.Array | None = None,
        model_state: ModelState = None,
        key: PRNGKey | None = None,
        is_valid: bool | jax.Array = False,
        **kwargs: Any,
    ) -> ReshapedState:
        check_gradients(self.get_params(opt_state), grad, self.name)
        grad = _expand(grad, opt_state.should_reshape)
        return self._inner.update(opt_state, grad, loss, model_state, key, is_valid, **kwargs)

    def get_params(self, opt_state: ReshapedState) -> Params:
        leaves, structure = jax.tree.flatten(opt_state.params)
        pairs = zip(leaves, opt_state.should_reshape, strict=True)
        return structure.unflatten([jnp.squeeze(x, 0) if scalar else x for x, scalar in pairs])

    def set_params(self, opt_state: ReshapedState, params: Params) -> ReshapedState:
        expanded = _expand(params, opt_state.should_reshape)
        return opt_state.replace(params=expanded)  # pyright: ignore[reportAttributeAccessIssue]


def _expand(tree: Params, scalars: tuple[bool, ...]) -> Params:
    leaves, structure = jax.tree.flatten(tree)
    pairs = zip(leaves, scalars, strict=True)
    return structure.unflatten([jnp.expand_dims(x, 0) if scalar else x for x, scalar in pairs])
