"""What is wrong with a tree is said by the path of the leaf, before anything is compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import pytest

from celo.errors import UsageError
from celo.trees import cast_like, check_gradients, check_model_state, check_num_steps

PARAMS = {"mlp": {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}}
W, B = PARAMS["mlp"]["w"], PARAMS["mlp"]["b"]


@pytest.mark.parametrize(
    ("grad", "message"),
    [
        ({"mlp": {"w": W}}, "the gradient has no leaf 'mlp|b'"),
        ({"mlp": {"w": W.T, "b": B}}, r"'mlp\|w' has shape \(3, 2\), the parameter \(2, 3\)"),
        ({"mlp": {"w": W, "b": B, "c": B}}, "a leaf 'mlp|c' that the parameters lack"),
    ],
)
def test_gradients_of_other_parameters_are_refused(grad: Any, message: str) -> None:
    with pytest.raises(UsageError, match=f"adam: .*{message}") as caught:
        check_gradients(PARAMS, grad, "adam")
    assert "Pass the gradient" in (caught.value.hint or "")


def test_the_containers_count_too() -> None:
    check_gradients([W, B], [W, B], "adam")
    with pytest.raises(UsageError, match="leaves of the parameters in other containers"):
        check_gradients([W, B], (W, B), "adam")


def test_a_state_keeps_its_structure() -> None:
    assert cast_like({"m": 1.0}, {"m": jnp.ones((), jnp.bfloat16)})["m"].dtype == jnp.bfloat16
    with pytest.raises(UsageError, match=r"the new state has the structure .*'n'.* is expected"):
        cast_like({"n": 1.0}, {"m": 1.0})


@pytest.mark.parametrize(
    ("new", "old", "message"),
    [
        (None, {"mean": W}, "update got no model_state, but init was given one"),
        ({"mean": W}, None, "update got a model_state, but init was given none"),
        ({"mean": W}, {"var": W}, "given to update has the structure .*mean.*var"),
    ],
)
def test_the_model_state_belongs_to_init(new: Any, old: Any, message: str) -> None:
    check_model_state(old, old, "adam")
    with pytest.raises(UsageError, match=f"adam: .*{message}") as caught:
        check_model_state(new, old, "adam")
    assert caught.value.hint


def test_the_length_of_the_run() -> None:
    checked: Callable[[Any], None] = lambda steps: check_num_steps(steps, "celo")  # noqa: E731
    checked(1)
    with pytest.raises(UsageError, match="celo needs the length of the run"):
        checked(None)
    for steps in (0, -3, 0.5):
        with pytest.raises(UsageError, match=f"must be at least 1, but is {steps}"):
            checked(steps)
