"""Weights from files: the structure comes from the optimizer, and what differs is named."""

from __future__ import annotations

from typing import Any

import haiku as hk
import jax
import numpy as np
import pytest

from celo.errors import WeightsError
from celo.lopt import theta_from_tree
from celo.lopt.theta import theta_template
from celo.trees import named_leaves
from celo_plugins import celo, celo_adam


@pytest.fixture
def tree() -> dict[str, Any]:
    """A file of celo-adam weights: nested dictionaries, the LSTM state among them."""
    root: dict[str, Any] = {}
    for path, leaf in named_leaves(theta_template(celo_adam.build())).items():
        *levels, last = path.split("|")
        node = root
        for level in levels:
            node = node.setdefault(level, {})
        node[last] = np.full(leaf.shape, len(path), leaf.dtype)
    return root


def test_leaves_land_where_their_paths_say(tree: dict[str, Any]) -> None:
    lopt = celo_adam.build()
    theta = theta_from_tree(lopt, tree)
    assert isinstance(theta["lstm_init_state"], hk.LSTMState)
    assert jax.tree.structure(theta) == jax.tree.structure(theta_template(lopt))
    for path, leaf in named_leaves(theta).items():
        assert isinstance(leaf, jax.Array)
        np.testing.assert_array_equal(leaf, len(path))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t: t["rnn_params"]["step_size"].pop("b"), "rnn_params|step_size|b is missing"),
        (lambda t: t.update(extra=np.zeros(1)), "extra is not expected"),
        (
            lambda t: t["lstm_init_state"].update(cell=np.zeros((1, 8), np.float32)),
            "lstm_init_state|cell has shape (1, 8) instead of (1, 64)",
        ),
        (
            lambda t: t["rnn_params"]["rnn/linear"].update(b=np.zeros((256,), np.float64)),
            "rnn_params|rnn/linear|b has dtype float64 instead of float32",
        ),
    ],
)
def test_what_differs_is_named(tree: dict[str, Any], damage: Any, message: str) -> None:
    damage(tree)
    with pytest.raises(WeightsError) as error:
        theta_from_tree(celo_adam.build(), tree)
    assert message in error.value.message and "celo-adam" in error.value.message
    assert error.value.hint


def test_weights_of_another_optimizer_are_refused_also_as_theta(tree: dict[str, Any]) -> None:
    theta = theta_from_tree(celo_adam.build(), tree)
    with pytest.raises(WeightsError, match="do not fit celo: ff_mod_stack"):
        celo.build().opt_fn(theta)
