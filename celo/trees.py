"""Trees of parameters: names of their leaves, checks at the edge, the casting rule."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from celo.errors import UsageError
from celo.protocol import Params, PyTree

PATH_SEPARATOR = "|"


def path_string(path: tuple[Any, ...]) -> str:
    """Writes a key path of `jax.tree_util` as in the published files: levels joined by `|`.

    Dictionary keys keep their own slashes; fields of records and named tuples go by name,
    elements of sequences by position.
    """
    return PATH_SEPARATOR.join(_level(entry) for entry in path)


def named_leaves(tree: PyTree) -> dict[str, Any]:
    """The leaves of a tree by path string, in flattening order."""
    return {path_string(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _level(entry: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(entry, attribute):
            return str(getattr(entry, attribute))
    return str(entry)


def check_float_leaves(params: Params, optimizer: str) -> None:
    """Refuses parameters which have no gradient.

    Raises:
      UsageError: a leaf is no array of real floating-point numbers.
    """
    for path, leaf in named_leaves(params).items():
        dtype = jnp.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise UsageError(
                f"{optimizer} trains floating-point parameters, but {path or 'params'} is {dtype}",
                hint="Keep other arrays in model_state, or convert them.",
            )


def check_gradients(params: Params, grad: Params, optimizer: str) -> None:
    """Refuses gradients that do not belong to the parameters; runs while tracing.

    Raises:
      UsageError: a leaf is missing, is one too many, or has another shape; its path is named.
    """
    expected = {path: jnp.shape(leaf) for path, leaf in named_leaves(params).items()}
    found = {path: jnp.shape(leaf) for path, leaf in named_leaves(grad).items()}
    hint = "Pass the gradient of the loss with respect to the parameters in the optimizer state."
    for path, shape in expected.items():
        if path not in found:
            raise UsageError(f"{optimizer}: the gradient has no leaf {path!r}", hint=hint)
        if found[path] != shape:
            raise UsageError(
                f"{optimizer}: the gradient of {path!r} has shape {found[path]}, "
                f"the parameter {shape}",
                hint=hint,
            )
    for path in found:
        if path not in expected:
            raise UsageError(
                f"{optimizer}: the gradient has a leaf {path!r} that the parameters lack", hint=hint
            )
    if jax.tree.structure(params) != jax.tree.structure(grad):
        raise UsageError(
            f"{optimizer}: the gradient has the leaves of the parameters in other containers "
            f"({jax.tree.structure(grad)} instead of {jax.tree.structure(params)})",
            hint=hint,
        )


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


def check_num_steps(num_steps: Any, optimizer: str) -> None:
    """Refuses a run without a length.

    Raises:
      UsageError: it is None or not positive.
    """
    if num_steps is None:
        raise UsageError(
            f"{optimizer} needs the length of the run, but num_steps is None",
            hint="Pass it to init: opt.init(params, num_steps=2000).",
        )
    if isinstance(num_steps, int | float | np.integer) and num_steps < 1:
        raise UsageError(f"num_steps must be at least 1, but is {num_steps}")


def _strong(value: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """`value` with this dtype and without weak type (jnp.asarray alone keeps it)."""
    return jax.lax.convert_element_type(value, dtype)
