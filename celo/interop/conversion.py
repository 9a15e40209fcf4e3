"""States and weights of one library as those of the other, leaf by leaf and without loss.

Both libraries give the fields of their states and the keys of their weights the same names; what
differs are the containers (records, named tuples, frozen dictionaries). So one function serves both
directions: it fills the structure that the receiver wants with the leaves that the sender has.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from celo.errors import UsageError
from celo.lopt import theta_from_tree
from celo.lopt.theta import theta_differences
from celo.protocol import LearnedOptimizer, MetaParams, Optimizer, PyTree
from celo.trees import named_leaves


def convert_state(state: PyTree, optimizer: Optimizer) -> PyTree:
    """The state of a run, so that another library's implementation of the optimizer goes on.

    Args:
      state: with the field `params`, and `state` where there is a model state; made by ours or by
        learned_optimization.
      optimizer: whose state it becomes; of either library.

    Returns:
      The state as `optimizer.init` would structure it, with the very numbers of `state`.

    Raises:
      UsageError: a leaf of one has no counterpart in the other, or has another shape or dtype:
        these are not two implementations of one optimizer.
    """

    def init(params: PyTree, model_state: PyTree) -> PyTree:
        return optimizer.init(params, model_state=model_state, num_steps=1)

    template = jax.eval_shape(init, state.params, getattr(state, "state", None))
    found = named_leaves(state)
    complaints = theta_differences(template, found, dtypes=True)
    if complaints:
        raise UsageError(
            f"a {type(state).__name__} does not fit {optimizer.name}: {'; '.join(complaints[:5])}",
            hint="convert only between the two implementations of one optimizer, built with the "
            "same hyperparameters",
        )
    leaves = [jnp.asarray(found[path]) for path in named_leaves(template)]
    return jax.tree.structure(template).unflatten(leaves)


def convert_theta(theta: MetaParams, lopt: LearnedOptimizer | Any) -> MetaParams:
    """Weights in the containers of another library's implementation of the learned optimizer.

    Args:
      theta: of ours or of learned_optimization.
      lopt: whose weights they become; of either library.

    Raises:
      WeightsError: they are another optimizer's; every leaf that differs is named.
    """
    return theta_from_tree(lopt, theta)
