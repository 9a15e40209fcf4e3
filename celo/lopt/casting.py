"""The rule that keeps an optimizer state the same to JAX from step to step."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from celo.errors import UsageError
from celo.protocol import PyTree


def cast_like(new: PyTree, old: PyTree, what: str = "the new state") -> PyTree:
    """Casts every leaf of `new` to the dtype of the same leaf of `old`.

    So bfloat16 parameters and their moments stay bfloat16, weak types vanish, and the state can be
    carried by `scan` and `cond`.

    Args:
      new: tree of arrays or scalars.
      old: tree of arrays with the same structure.
      what: names `new` in the error message.

    Raises:
      UsageError: the structures differ.
    """
    if jax.tree.structure(new) != jax.tree.structure(old):
        raise UsageError(
            f"{what} has the structure {jax.tree.structure(new)}, "
            f"but {jax.tree.structure(old)} is expected",
            hint="The state must keep the structure that init gave it.",
        )
    return jax.tree.map(lambda n, o: _strong(n, jnp.result_type(o)), new, old)


def check_model_state(new: PyTree, old: PyTree, optimizer: str) -> None:
    """Refuses a model state of another structure than the one given to `init`.

    Raises:
      UsageError: the structures differ; most often `update` was called without the model state.
    """
    if jax.tree.structure(new) == jax.tree.structure(old):
        return
    if new is None:
        message = "update got no model_state, but init was given one"
        hint = "Pass it: update(opt_state, grad, loss=loss, model_state=model_state)."
    elif old is None:
        message = "update got a model_state, but init was given none"
        hint = "Pass it from the start: init(params, model_state=model_state, ...)."
    else:
        message = (
            f"the model_state given to update has the structure {jax.tree.structure(new)}, "
            f"the one given to init {jax.tree.structure(old)}"
        )
        hint = "Keep the structure of the model state from step to step."
    raise UsageError(f"{optimizer}: {message}", hint=hint)


def _strong(value: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """`value` with this dtype and without weak type (jnp.asarray alone keeps it)."""
    return jax.lax.convert_element_type(value, dtype)
