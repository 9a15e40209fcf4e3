"""optax as an Optimizer, an Optimizer as optax: the same training either way."""

from __future__ import annotations

import functools
from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import celo
from celo import registry
from celo.errors import UsageError
from celo.loading import constructor, find, reads_of
from celo.optim import from_optax, to_optax
from celo.protocol import ModelState, Optimizer, Params, state_record
from celo.testing.compiling import compiled
from celo.testing.optimizer_subject import find_optimizer

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


NAMES = [found.record.name for found in registry.optimizers()]
MODIFIED = "adam+graft:sgdm+schedule:cosine+accumulate:2+skip-nonfinite"
LABELS = {"a": "ours", "b": {"c": "other"}}


@pytest.mark.parametrize("name", [*NAMES, MODIFIED])
def test_every_optimizer_works_inside_the_wrappers_of_optax(name: str) -> None:
    spec, found = find(name)
    built = constructor(spec, found)()
    theta = None
    if found.record.kind == "learned":
        theta = jax.eval_shape(built.init, jax.random.PRNGKey(0))
    reads = set(reads_of(spec, found.record))

    def ours(theta: Any) -> optax.GradientTransformationExtraArgs:
        optimizer = built if theta is None else built.opt_fn(theta)
        reads.update(getattr(optimizer, "reads", ()))
        return to_optax(optimizer, num_steps=10, reads=reads)

    def wrapped(theta: Any) -> optax.GradientTransformationExtraArgs:
        guarded = optax.apply_if_finite(optax.chain(optax.clip(1.0), ours(theta)), 3)
        parts = {"ours": guarded, "other": optax.sgd(0.1), "none": ours(theta)}
        steps = optax.MultiSteps(optax.partition(parts, LABELS), every_k_schedule=2)
        return steps.gradient_transformation()

    def update(theta: Any, state: Any, params: Params) -> Any:
        return wrapped(theta).update(params, state, params, value=jnp.ones(()), loss_scale=8)

    half = jax.tree.map(lambda p: p.astype(jnp.bfloat16), PARAMS)
    state = jax.eval_shape(lambda theta, p: wrapped(theta).init(p), theta, half)
    updates, new = jax.eval_shape(update, theta, state, half)
    assert _form(updates) == _form(half)
    assert _form(new) == _form(state)

    alone = jax.eval_shape(lambda theta, p: ours(theta).init(p), theta, PARAMS)
    assert not jax.tree.leaves(alone.params)

    def without_loss() -> Any:
        return jax.eval_shape(lambda t, s: ours(t).update(PARAMS, s, PARAMS), theta, alone)

    if "loss" in reads:
        with pytest.raises(UsageError, match="value=loss"):
            without_loss()
    else:
        assert _form(without_loss()[1]) == _form(alone)


@pytest.mark.parametrize("name", ["adam", "sgdm", "celo"])
def test_training_through_optax_is_the_native_training(name: str) -> None:
    optimizer = find_optimizer(name).plain
    transform = to_optax(optimizer, num_steps=10, reads=registry.optimizer(name).record.reads)

    @functools.partial(compiled, donate_argnums=(0, 1))
    def step(params, state):
        loss, grads = jax.value_and_grad(_loss)(params)
        extra = {"loss": loss, "model_state": None, "is_valid": False}
        updates, state = transform.update(grads, state, params, extra_args=extra)
        return optax.apply_updates(params, updates), state

    @compiled
    def native(state):
        loss, grads = jax.value_and_grad(_loss)(optimizer.get_params(state))
        return optimizer.update(state, grads, loss=loss)

    params = jax.tree.map(jnp.copy, PARAMS)
    state, whole = transform.init(params), optimizer.init(PARAMS, num_steps=10)
    for _ in range(3):
        params, state = step(params, state)
        whole = native(whole)
    _assert_near(params, optimizer.get_params(whole))
    assert any(np.any(np.asarray(p) != q) for p, q in zip(
        jax.tree.leaves(params), jax.tree.leaves(PARAMS), strict=True))  # fmt: skip


def test_a_masked_leaf_is_none_of_the_optimizers_business() -> None:
    transform = optax.masked(_transform(), {"a": True, "b": {"c": False}})
    found = _train(transform, steps=1)
    _assert_near(found["a"], _train_native(steps=1)["a"])


def test_a_part_without_leaves_does_nothing() -> None:
    transform = _transform()
    state = transform.init({"a": optax.MaskedNode()})
    nothing = {"a": optax.MaskedNode()}
    assert state == optax.EmptyState()
    assert transform.update(nothing, state, nothing) == (nothing, state)


@pytest.mark.parametrize("form", ["value", "loss", "extra_args"])
def test_the_loss_can_be_given_in_every_usual_form(form: str) -> None:
    transform = _transform()
    state = transform.init(PARAMS)
    loss = jnp.float32(2.0)
    given = {"value": loss, "loss": loss, "extra_args": {"loss": loss, "model_state": {"n": 1}}}
    updates, new = transform.update(PARAMS, state, PARAMS, **{form: given[form]})
    assert jax.tree.structure(new) == jax.tree.structure(state)
    _assert_near(updates, jax.tree.map(lambda p: -0.2 * p, PARAMS))


def test_unknown_keywords_reach_the_optimizer() -> None:
    class Told(_LossScaled):
        def update(self, opt_state, grad, loss=None, model_state=None, key=None, **kwargs):
            told.append((key, kwargs))
            return super().update(opt_state, grad, loss)

    told: list[Any] = []
    transform = to_optax(Told(), num_steps=10)
    state = transform.init(PARAMS)
    transform.update(PARAMS, state, PARAMS, value=1.0, key=7, is_valid=True, grad=3, value_fn=print)
    assert told == [(7, {"is_valid": True, "value_fn": print})]


def test_modified_optimizers_become_optax_with_what_they_read() -> None:
    transform = celo.load("sgd:lr=0.1+accumulate:2+schedule:cosine", as_optax=True, num_steps=4)
    state = transform.init(PARAMS)
    assert sum(leaf.size for leaf in jax.tree.leaves(state)) < 2 * 7 + 6
    found = _train(transform, steps=2)
    grads = jax.grad(_loss)(PARAMS)
    # The second call updates: at a quarter of the run, (1 + cos(pi / 4)) / 2 of the rate.
    factor = 0.1 * (1 + np.cos(np.pi / 4)) / 2
    _assert_near(found, jax.tree.map(lambda p, g: p - factor * g, PARAMS, grads))


def _form(tree: Any) -> Any:
    return jax.tree.map(lambda x: (x.shape, x.dtype), tree)


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
