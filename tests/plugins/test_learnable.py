"""Optimizers whose hyperparameters are theta."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo.errors import UsageError
from celo.loading import find, weights_of
from celo.protocol import LearnedOptimizer, Optimizer
from celo_plugins import handcrafted, learnable

PARAMS = {"w": jnp.asarray([0.5, -1.0, 2.0])}
GRADS = {"w": jnp.asarray([1.0, -0.1, 0.0])}
PAIRS = [
    (learnable.build_sgd(), handcrafted.sgd(lr=0.01)),
    (learnable.build_sgdm(), handcrafted.sgdm(lr=0.01, momentum=0.9)),
    (learnable.build_adam(), handcrafted.adam(lr=1e-3, b1=0.9, b2=0.999, eps=1e-8)),
]


def _train(optimizer: Optimizer) -> Any:
    state = optimizer.init(PARAMS)
    for _ in range(3):
        state = optimizer.update(state, GRADS)
    return state.params["w"]


@pytest.mark.parametrize(("lopt", "plain"), PAIRS, ids=["sgd", "sgdm", "adam"])
def test_initial_theta_is_the_hand_crafted_optimizer(
    lopt: LearnedOptimizer, plain: Optimizer
) -> None:
    theta = lopt.init(jax.random.PRNGKey(3))
    np.testing.assert_allclose(_train(lopt.opt_fn(theta)), _train(plain), rtol=1e-5)


def test_theta_moves_every_hyperparameter() -> None:
    lopt = learnable.build_adam(initial_lr=0.1)
    theta = lopt.init(jax.random.PRNGKey(0))
    assert set(theta) == {"log_lr", "one_minus_beta1", "one_minus_beta2", "log_epsilon"}
    np.testing.assert_allclose(np.exp(theta["log_lr"]), 0.1, rtol=1e-6)
    moved = {
        "log_lr": jnp.log(0.2),
        "one_minus_beta1": jnp.log(0.5),
        "one_minus_beta2": jnp.log(0.2),
        "log_epsilon": jnp.log(0.3),
    }
    plain = handcrafted.adam(lr=0.2, b1=0.5, b2=0.8, eps=0.3)
    np.testing.assert_allclose(_train(lopt.opt_fn(moved)), _train(plain), rtol=1e-5)


def test_the_derivative_by_theta_is_finite_where_gradients_vanish() -> None:
    lopt = learnable.build_adam()
    slope = jax.grad(lambda theta: jnp.sum(_train(lopt.opt_fn(theta))))
    for leaf in jax.tree.leaves(slope(lopt.init(jax.random.PRNGKey(0)))):
        assert np.isfinite(leaf)


def test_untrained_weights_must_be_asked_for() -> None:
    spec, found = find("learnable-adam")
    with pytest.raises(UsageError, match="has no published weights"):
        weights_of(spec, found.record)
    spec, found = find("learnable-adam@random:0")
    assert weights_of(spec, found.record) is None
