"""optax as an Optimizer, an Optimizer as optax: the same training either way."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from celo.errors import UsageError
from celo.optim import from_optax, to_optax
from celo.protocol import ModelState, Optimizer, Params, state_record

PARAMS = {"a": jnp.asarray([1.0, -2.0, 0.5]), "b": {"c": jnp.ones((2, 2))}}


@state_record
class _State:
    params: Params
    state: ModelState
    iteration: jax.Array
    num_steps: jax.Array
    momentum: Params


class _LossScaled(Optimizer):
    """Momentum scaled by the loss and the remaining run: reads all there is to read."""

    @property
    def name(self) -> str:
        return "loss-scaled"

    def init(self, params, model_state=None, num_steps=None, key=None, **kwargs):
        zeros = jax.tree.map(jnp.zeros_like, params)
        return _State(params, model_state, jnp.zeros((), jnp.int32), jnp.int32(num_steps), zeros)

    def update(
        self, opt_state, grad, loss=None, model_state=None, key=None, is_valid=False, **kwargs
    ):
        assert loss is not None
        momentum = jax.tree.map(lambda m, g: 0.9 * m + g, opt_state.momentum, grad)
        rate = 0.1 * loss * (1 - opt_state.iteration / opt_state.num_steps)
        params = jax.tree.map(lambda p, m: p - rate * m, opt_state.params, momentum)
        iteration = opt_state.iteration + 1
        return _State(params, model_state, iteration, opt_state.num_steps, momentum)


READS: Collection[str] = ("num_steps", "loss")


def _transform() -> optax.GradientTransformationExtraArgs:
    return to_optax(_LossScaled(), num_steps=10, reads=READS)


def _loss(params: Params) -> jax.Array:
    return sum(jnp.sum(jnp.square(leaf - 3.0)) for leaf in jax.tree.leaves(params)) / 50


def _train(transform: Any, steps: int = 5, **extra: Any) -> Params:
    @jax.jit
    def step(params, state):
        loss, grads = jax.value_and_grad(_loss)(params)
        updates, state = transform.update(grads, state, params, value=loss, **extra)
        return optax.apply_updates(params, updates), state

    params, state = PARAMS, transform.init(PARAMS)
    for _ in range(steps):
        params, state = step(params, state)
    return params


def _train_native(steps: int = 5) -> Params:
    optimizer = _LossScaled()
    state = optimizer.init(PARAMS, num_steps=10)
    for _ in range(steps):
        loss, grads = jax.value_and_grad(_loss)(state.params)
        state = optimizer.update(state, grads, loss=loss)
    return state.params


def _assert_near(found: Params, expected: Params) -> None:
    jax.tree.map(lambda f, e: np.testing.assert_allclose(f, e, rtol=1e-5), found, expected)


def test_to_optax_equals_the_native_loop_and_swallows_unknown_extras() -> None:
    _assert_near(_train(_transform(), loss_scale=8, key=None), _train_native())


def test_to_optax_keeps_no_second_copy_of_the_parameters() -> None:
    state = _transform().init(PARAMS)
    assert not jax.tree.leaves(state.params)
    kept = sum(leaf.size for leaf in jax.tree.leaves(state))
    assert kept == sum(leaf.size for leaf in jax.tree.leaves(PARAMS)) + 2


def test_to_optax_in_a_chain() -> None:
    chain = optax.chain(optax.clip_by_global_norm(1e6), _transform(), optax.scale(1.0))
    _assert_near(_train(chain), _train_native())


def test_to_optax_in_multi_steps() -> None:
    multi = optax.MultiSteps(_transform(), every_k_schedule=2)
    found = _train(multi.gradient_transformation(), steps=6)
    # Between the second and the third call of the pair nothing moves, so the mean gradient is it.
    _assert_near(found, _train_native(steps=3))


def test_to_optax_in_multi_transform() -> None:
    both = optax.multi_transform(
        {"ours": _transform(), "sgd": optax.sgd(0.1)}, {"a": "ours", "b": {"c": "sgd"}}
    )
    found = _train(both, steps=1)
    _assert_near(found["a"], _train_native(steps=1)["a"])
    expected = PARAMS["b"]["c"] - 0.1 * jax.grad(_loss)(PARAMS)["b"]["c"]
    _assert_near(found["b"]["c"], expected)


def test_to_optax_says_what_is_missing_and_how_to_pass_it() -> None:
    with pytest.raises(UsageError, match="num_steps is None"):
        to_optax(_LossScaled(), reads=READS)
    transform = _transform()
    state = transform.init(PARAMS)
    with pytest.raises(UsageError, match="value=loss"):
        jax.jit(transform.update)(PARAMS, state, PARAMS)
    with pytest.raises(UsageError, match="params is None"):
        transform.update(PARAMS, state, value=jnp.float32(1.0))


def test_from_optax_equals_optax() -> None:
    optimizer = from_optax(optax.adam(0.1), "adam")
    state = optimizer.init(PARAMS, model_state=jnp.asarray(7), num_steps=10)
    update = jax.jit(optimizer.update)
    params, inner = PARAMS, optax.adam(0.1).init(PARAMS)
    for _ in range(3):
        grads = jax.grad(_loss)(params)
        updates, inner = optax.adam(0.1).update(grads, inner, params)
        params = optax.apply_updates(params, updates)
        state = update(state, grads, loss=1.0, model_state=jnp.asarray(8), is_valid=True, unknown=3)
    _assert_near(optimizer.get_params(state), params)
    assert (optimizer.name, int(optimizer.get_state(state)), int(state.iteration)) == ("adam", 8, 3)
    assert state.iteration.dtype == jnp.int32
    assert update._cache_size() == 1, "the second update compiled again"


def test_from_optax_keeps_dtypes_with_traced_hyperparameters() -> None:
    half = jax.tree.map(lambda p: p.astype(jnp.bfloat16), PARAMS)

    @jax.jit
    def train(lr: jax.Array, b1: jax.Array) -> Any:
        optimizer = from_optax(optax.adam(lr, b1=b1), "adam")
        state = optimizer.init(half)
        return jax.lax.scan(lambda s, _: (optimizer.update(s, half), None), state, None, length=2)

    final = train(jnp.float32(0.1), jnp.float32(0.9))[0]
    assert {leaf.dtype for leaf in jax.tree.leaves(final.params)} == {jnp.dtype(jnp.bfloat16)}


def test_from_optax_hands_the_loss_to_transformations_that_read_it() -> None:
    optimizer = from_optax(optax.polyak_sgd(), "polyak")
    state = optimizer.init(PARAMS)
    grads = jax.grad(_loss)(PARAMS)
    updates, _ = optax.polyak_sgd().update(
        grads, optax.polyak_sgd().init(PARAMS), PARAMS, value=_loss(PARAMS)
    )
    found = optimizer.update(state, grads, loss=_loss(PARAMS)).params
    _assert_near(found, optax.apply_updates(PARAMS, updates))
    with pytest.raises(UsageError, match="polyak reads the training loss"):
        optimizer.update(state, grads)


def test_from_optax_names_the_leaf_that_does_not_belong() -> None:
    optimizer = from_optax(optax.sgd(0.1), "sgd")
    with pytest.raises(UsageError, match=r"no leaf 'b\|c'"):
        optimizer.update(optimizer.init(PARAMS), {"a": PARAMS["a"]})
    with pytest.raises(UsageError, match="n is int32"):
        optimizer.init({"n": jnp.ones(2, jnp.int32)})


def test_there_and_back_again() -> None:
    native = from_optax(optax.adam(0.1), "adam")
    _assert_near(_train(to_optax(native)), _train(optax.with_extra_args_support(optax.adam(0.1))))
