"""What is added to a function that makes an optax transformation."""

from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from celo.errors import UsageError
from celo.optim import from_optax, handcrafted, to_optax
from celo.protocol import eval_params
from celo.records import LEARNING_RATE_SCHEDULE

PARAMS = {"w": jnp.asarray([1.0, -2.0])}
GRAD = {"w": jnp.asarray([0.5, 0.25])}


@handcrafted("Momentum_lr{lr}_m{momentum}")
def momentum(lr=0.1, momentum=0.9):
    return optax.sgd(lr, momentum)


def test_schedules_join_the_signature() -> None:
    defaults = {name: p.default for name, p in inspect.signature(momentum).parameters.items()}
    added = {h.name: h.default for h in LEARNING_RATE_SCHEDULE}
    assert defaults == {"lr": 0.1, "momentum": 0.9, **added}
    assert momentum(0.2).name == "Momentum_lr0.2_m0.9"
    assert momentum(schedule="cosine").name == "Momentum_lr0.1_m0.9_cosine"
    assert momentum(lr=jnp.float32(1.0)).name == "Momentum_lr*_m0.9"
    with pytest.raises(TypeError, match="rate"):
        momentum(rate=1)


def test_a_grid_of_rates_with_a_schedule_is_one_vmapped_axis() -> None:
    def train(lr: jax.Array, num_steps: jax.Array) -> jax.Array:
        optimizer = momentum(lr=lr, momentum=0.0, schedule="cosine")
        state = optimizer.init(PARAMS, num_steps=num_steps)
        body = lambda s, _: (optimizer.update(s, GRAD), None)  # noqa: E731
        return jax.lax.scan(body, state, length=4)[0].params["w"]

    rates, length = jnp.asarray([0.1, 0.3]), 4
    found = jax.jit(jax.vmap(train, in_axes=(0, None)))(rates, length)
    total = sum(0.5 * np.cos(np.pi * k / length) + 0.5 for k in range(length))
    expected = [PARAMS["w"] - lr * total * GRAD["w"] for lr in rates]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_schedule_that_needs_the_length_of_the_run_says_so() -> None:
    optimizer = momentum(schedule="cosine")
    with pytest.raises(UsageError, match="length of the run, but num_steps is None"):
        optimizer.init(PARAMS)
    with pytest.raises(UsageError, match="length of the run, but num_steps is None"):
        to_optax(optimizer)
    assert to_optax(optimizer, num_steps=3).init(PARAMS).num_steps == 3
    without = momentum(schedule="sqrt-decay").init(PARAMS)
    assert without.num_steps is None, "a state grows only where it must"


def test_parameters_are_evaluated_where_the_method_says() -> None:
    def halved(inner, params):
        return jax.tree.map(lambda p: p / 2, params)

    optimizer = from_optax(optax.sgd(0.1), "sgd", eval_params=halved)
    state = optimizer.init(PARAMS)
    np.testing.assert_array_equal(eval_params(optimizer, state)["w"], PARAMS["w"] / 2)
    np.testing.assert_array_equal(optimizer.get_params(state)["w"], PARAMS["w"])
    plain = from_optax(optax.sgd(0.1), "sgd")
    np.testing.assert_array_equal(eval_params(plain, plain.init(PARAMS))["w"], PARAMS["w"])


def test_foreign_optimizers_need_no_eval_params() -> None:
    class Foreign:
        def get_params(self, state):
            return state["p"]

    assert eval_params(Foreign(), {"p": 3}) == 3


def test_first_parameters_are_copied_so_that_a_state_can_be_donated() -> None:
    remembers = optax.GradientTransformation(lambda params: params, lambda g, s, p=None: (g, s))
    state = from_optax(remembers, "remembers").init(PARAMS)
    first, second = state.params["w"], state.optax_opt_state["w"]
    assert first.unsafe_buffer_pointer() != second.unsafe_buffer_pointer()
