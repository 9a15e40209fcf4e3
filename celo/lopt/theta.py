"""Meta-parameters as files know them: from nested dictionaries of arrays to theta."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from celo.errors import WeightsError
from celo.protocol import LearnedOptimizer, MetaParams, PyTree
from celo.trees import named_leaves

_SHOWN = 5


class CheckedLopt(LearnedOptimizer):
    """A learned optimizer that refuses weights that are not its own."""

    def check(self, theta: MetaParams) -> None:
        """To be called by `opt_fn`; theta may be traced.

        Raises:
          WeightsError: the leaves or their shapes are not those of `init`.
        """
        complaints = theta_differences(self._template, named_leaves(theta), dtypes=False)
        if complaints:
            raise _wrong_weights(self, complaints)

    @functools.cached_property
    def _template(self) -> PyTree:
        return theta_template(self)


def theta_template(lopt: LearnedOptimizer) -> PyTree:
    """The structure, shapes and dtypes of theta, as `jax.ShapeDtypeStruct`, without computing."""
    return jax.eval_shape(lopt.init, jax.random.PRNGKey(0))


def theta_from_tree(lopt: LearnedOptimizer, tree: Mapping[str, Any]) -> MetaParams:
    """Turns a tree read from a file into theta.

    Args:
      lopt: the learned optimizer that the weights are for.
      tree: nested dictionaries of arrays with the keys of the published files; a Haiku LSTM state
        is a dictionary with the keys `hidden` and `cell`.

    Returns:
      Theta in the structure of `lopt.init`, as JAX arrays.

    Raises:
      WeightsError: leaves are missing, are too many, or have another shape or dtype.
    """
    template = theta_template(lopt)
    found = named_leaves(tree)
    complaints = theta_differences(template, found, dtypes=True)
    if complaints:
        raise _wrong_weights(lopt, complaints)
    leaves = [jnp.asarray(found[path]) for path in named_leaves(template)]
    return jax.tree.structure(template).unflatten(leaves)


def theta_differences(
    template: PyTree, found: Mapping[str, Any], *, dtypes: bool
) -> tuple[str, ...]:
    """Says leaf by leaf where weights differ from what an optimizer needs; empty if nowhere."""
    expected = named_leaves(template)
    missing = tuple(f"{path} is missing" for path in expected if path not in found)
    surplus = tuple(f"{path} is not expected" for path in found if path not in expected)
    wrong = []
    for path, want in expected.items():
        if path not in found:
            continue
        shape, dtype = jnp.shape(found[path]), getattr(found[path], "dtype", None)
        if shape != want.shape:
            wrong.append(f"{path} has shape {shape} instead of {want.shape}")
        elif dtypes and dtype != want.dtype:
            wrong.append(f"{path} has dtype {dtype} instead of {want.dtype}")
    return missing + surplus + tuple(wrong)


def _wrong_weights(lopt: LearnedOptimizer, complaints: tuple[str, ...]) -> WeightsError:
    shown = "; ".join(complaints[:_SHOWN])
    more = len(complaints) - _SHOWN
    rest = f"; and {more} more" if more > 0 else ""
    return WeightsError(
        f"these weights do not fit {lopt.name or type(lopt).__name__}: {shown}{rest}",
        hint="Name the optimizer that the weights were trained for, with the same hyperparameters.",
    )
