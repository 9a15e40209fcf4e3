"""Learned optimizers made of others."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from celo.errors import UsageError
from celo.lopt.combine import SumLearnedOptimizer, learned_optimizer_from_opt
from celo.optim import from_optax
from celo.protocol import LearnedOptimizer, Optimizer

PARAMS = {"w": jnp.asarray([0.5, -1.0, 2.0])}


class _Sgd(LearnedOptimizer):
    """Gradient descent whose theta is the learning rate."""

    @property
    def name(self) -> str:
        return "sgd"

    def init(self, key: Any) -> Any:
        return {"lr": jax.random.uniform(key)}

    def opt_fn(self, theta: Any, is_training: bool = False) -> Optimizer:
        return from_optax(optax.sgd(theta["lr"]), name=self.name)


def _decay(optimizer: Optimizer, steps: int = 3) -> Any:
    """Follows gradients that are the parameters themselves, so that every step sees them."""
    state = optimizer.init(PARAMS, model_state={"n": jnp.zeros(2)}, num_steps=5)
    for i in range(steps):
        model_state = {"n": jnp.full(2, float(i))}
        state = optimizer.update(
            state, optimizer.get_params(state), jnp.float32(1.0), model_state=model_state
        )
    return state


def test_a_sum_takes_both_steps_from_common_parameters() -> None:
    momentum = from_optax(optax.sgd(0.2, momentum=0.5), name="momentum")
    lopt = SumLearnedOptimizer([_Sgd(), learned_optimizer_from_opt(momentum)])
    assert lopt.name == "sgd+momentum"
    theta = lopt.init(jax.random.PRNGKey(0))
    assert set(theta) == {"inner_lopt_theta_0", "inner_lopt_theta_1"}
    theta["inner_lopt_theta_0"]["lr"] = jnp.float32(0.1)
    state = _decay(lopt.opt_fn(theta))
    p, buffer = np.asarray(PARAMS["w"], np.float64), 0.0
    for _ in range(3):
        buffer = p + 0.5 * buffer
        p = p - (0.1 * p + 0.2 * buffer)
    np.testing.assert_allclose(state.params["w"], p, rtol=1e-5)
    assert int(state.iteration) == 3 and float(state.state["n"][0]) == 2.0
    assert sum(leaf.size for leaf in jax.tree.leaves(state)) == 3 + 2 + 1 + (1 + 1 + 3)


def test_a_sum_works_compiled_and_donated() -> None:
    lopt = SumLearnedOptimizer([_Sgd(), _Sgd()])
    theta = lopt.init(jax.random.PRNGKey(1))
    optimizer = lopt.opt_fn(theta)
    state = optimizer.init(jax.tree.map(jnp.copy, PARAMS))
    update = jax.jit(lambda s: optimizer.update(s, PARAMS), donate_argnums=0)
    new = update(update(state))
    rate = sum(float(part["lr"]) for part in theta.values())
    np.testing.assert_allclose(new.params["w"], (1 - 2 * rate) * PARAMS["w"], rtol=1e-5)
    assert float(theta["inner_lopt_theta_0"]["lr"]) != float(theta["inner_lopt_theta_1"]["lr"])


def test_a_fixed_optimizer_has_no_theta() -> None:
    optimizer = from_optax(optax.sgd(0.1), name="plain")
    lopt = learned_optimizer_from_opt(optimizer)
    assert lopt.init(jax.random.PRNGKey(0)) is None and lopt.name == "plain"
    assert lopt.opt_fn(None, is_training=True) is optimizer


def test_a_sum_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one"):
        SumLearnedOptimizer([])
