"""Trees that nobody writes on purpose and every framework makes: through both interfaces."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import celo
from celo.errors import UsageError
from celo.trees import named_leaves

NAMES = (
    "celo",
    "celo-adam",
    "celo2",
    "velo-s",
    "adafac-mlp-lopt",
    "rnn-mlp-lopt",
    "nn-adam",
    "adam",
)
TREE = {
    "scalar": jnp.float32(0.5),
    "none": None,
    "empty vector": jnp.zeros((0,)),
    "empty matrix": jnp.zeros((0, 3)),
    "list": [jnp.ones((2, 1)), None],
}
_COMPILE_FAST = {"xla_backend_optimization_level": 0}


def _text(name: str) -> str:
    if name == "adam":
        return "adam:lr=0.01"
    # With random weights the published steps of VeLO are lost in the rounding of the parameters.
    return f"{name}@random:0" + (":step_mult=1" if name == "velo-s" else "")


@pytest.mark.parametrize("name", NAMES)
def test_odd_leaves_are_trained_or_left_alone(name: str) -> None:
    optimizer = celo.load(_text(name))
    start = optimizer.init(TREE, num_steps=10)

    def two_updates(state: Any) -> Any:
        for _ in range(2):
            grad = jax.tree.map(lambda p: p + 0.1, optimizer.get_params(state))
            state = optimizer.update(state, grad, loss=jnp.float32(1.0))
        return state

    new = jax.jit(two_updates, compiler_options=_COMPILE_FAST)(start)
    assert jax.tree.structure(new) == jax.tree.structure(start)
    for path, leaf in named_leaves(new).items():
        assert np.all(np.isfinite(leaf)), path
    params = optimizer.get_params(new)
    assert params["none"] is None and params["empty matrix"].shape == (0, 3)
    moved = jax.tree.map(lambda a, b: np.any(a != b), params, optimizer.get_params(start))
    assert any(jax.tree.leaves(moved))


@pytest.mark.parametrize("name", NAMES)
def test_a_tree_without_leaves_is_no_error(name: str) -> None:
    optimizer = celo.load(_text(name))

    def update(state: Any) -> Any:
        return optimizer.update(state, {}, loss=jnp.float32(1.0))

    state = jax.eval_shape(lambda: optimizer.init({}, num_steps=10))
    assert jax.tree.structure(jax.eval_shape(update, state)) == jax.tree.structure(state)


@pytest.mark.parametrize("name", NAMES)
def test_integer_parameters_are_named(name: str) -> None:
    params = {"net": {"w": jnp.ones(2), "steps": jnp.arange(2)}}
    for as_optax in (False, True):
        text = _text(name)
        optimizer = celo.load(text, as_optax=True, num_steps=10) if as_optax else celo.load(text)
        with pytest.raises(UsageError, match=r"trains floating-point.*net\|steps is int32"):
            optimizer.init(params, **({} if as_optax else {"num_steps": 10}))
