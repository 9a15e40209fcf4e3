"""What must hold for Celo, its phase 1 and Celo-Adam whatever the numbers are."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo.errors import UsageError
from celo.lopt.scheduled import advance
from celo.protocol import LearnedOptimizer, Optimizer
from celo.trees import named_leaves
from celo_plugins import celo, celo_adam

COMPILE_FAST = {"xla_backend_optimization_level": 0}
PHASE2, PHASE1, ADAM = celo.build(), celo.build_phase1(), celo_adam.build()
SHAPES = {"scalar": (), "vector": (3,), "matrix": (3, 2), "cube": (2, 3, 2), "kernel": (2, 2, 3, 2)}


@functools.cache
def _theta(lopt: LearnedOptimizer) -> Any:
    # Not the zeros of the initial biases: they hide mistakes.
    key = jax.random.PRNGKey(1)
    template = jax.eval_shape(lopt.init, key)
    leaves, structure = jax.tree.flatten(template)
    keys = jax.random.split(key, len(leaves))
    return structure.unflatten(
        [0.3 * jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)]
    )


def _params(dtype: Any = jnp.float32, scale: float = 1.0) -> dict[str, jax.Array]:
    return {
        name: scale
        * jnp.cos(jnp.arange(np.prod(shape, dtype=int), dtype=jnp.float32))
        .reshape(shape)
        .astype(dtype)
        for name, shape in SHAPES.items()
    }


@functools.cache
def _compiled(lopt: LearnedOptimizer) -> Any:
    """One jitted update for all tests; donates its state."""

    def update(theta: Any, state: Any, grad: Any, loss: jax.Array) -> Any:
        return lopt.opt_fn(theta).update(state, grad, loss=loss)

    return jax.jit(update, donate_argnums=1)


def _run(lopt: LearnedOptimizer, state: Any, grads: Any, steps: int = 3) -> Any:
    for i in range(steps):
        state = _compiled(lopt)(_theta(lopt), state, grads, jnp.float32(2.0 - 0.1 * i))
    return state


def _init(lopt: LearnedOptimizer, params: Any, num_steps: Any = 20) -> Any:
    return lopt.opt_fn(_theta(lopt)).init(jax.tree.map(jnp.copy, params), num_steps=num_steps)


@pytest.mark.parametrize("lopt", [PHASE2, ADAM], ids=["celo", "celo-adam"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_state_keeps_its_form_and_one_compilation_serves_all_steps(
    lopt: LearnedOptimizer, dtype: Any
) -> None:
    state = _init(lopt, _params(dtype))
    before = jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), state)
    compiled = _compiled(lopt)
    compilations = compiled._cache_size()
    after = _run(lopt, state, _params(dtype, 0.1))
    assert compiled._cache_size() <= compilations + 1
    assert jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), after) == before
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params)), "not donated"
    assert jax.tree.leaves(_theta(lopt))[0].is_deleted() is False
    assert int(after.iteration) == 3
    for path, leaf in named_leaves(after.params).items():
        assert np.all(np.isfinite(leaf)), path
        moved = leaf != _params(dtype)[path]
        assert np.any(moved) or dtype == jnp.bfloat16, path


@pytest.mark.parametrize("lopt", [PHASE2, ADAM], ids=["celo", "celo-adam"])
def test_zero_gradients_and_zero_parameters_stay_finite(lopt: LearnedOptimizer) -> None:
    zeros = _params(scale=0.0)
    after = _run(lopt, _init(lopt, zeros), zeros)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(after))


def test_vmap_over_seeds_and_theta_equals_a_loop() -> None:
    theta = _theta(PHASE2)
    thetas = jax.tree.map(lambda x: jnp.stack([x, 1.1 * x]), theta)
    params = {name: _params()[name] for name in ("vector", "kernel")}
    grads = jax.tree.map(jnp.sin, params)
    seeds = jax.tree.map(lambda x: jnp.stack([x, -0.5 * x + 0.1]), params)
    horizons = jnp.asarray([15, 40])

    def train(theta: Any, params: Any, num_steps: jax.Array) -> Any:
        optimizer = PHASE2.opt_fn(theta)
        state = optimizer.init(params, num_steps=num_steps)

        def step(state: Any, loss: jax.Array) -> tuple[Any, None]:
            return optimizer.update(state, grads, loss=loss), None

        return jax.lax.scan(step, state, jnp.asarray([3.0, 2.0, 2.5, 1.0]))[0].params

    together = jax.jit(jax.vmap(train), compiler_options=COMPILE_FAST)(thetas, seeds, horizons)
    one = jax.jit(train, compiler_options=COMPILE_FAST)
    for i in range(2):
        alone = one(*jax.tree.map(lambda x, i=i: x[i], (thetas, seeds, horizons)))
        for path, leaf in named_leaves(alone).items():
            np.testing.assert_allclose(together[path][i], leaf, rtol=2e-5, err_msg=path)


MATRIX = {"matrix": jnp.asarray([[0.5, -2.0, 1.0], [0.1, 0.2, -0.3]])}


def _compute(lopt: Any, params: Any, grads: Any) -> Any:
    optimizer = lopt.opt_fn(_theta(lopt))
    compute = jax.jit(optimizer.compute, compiler_options=COMPILE_FAST)
    return compute(_init(lopt, params), grads, jnp.float32(1.0))


def test_phase1_differs_by_the_scheduler_alone() -> None:
    one, two = (_compute(lopt, MATRIX, MATRIX) for lopt in (PHASE1, PHASE2))
    np.testing.assert_allclose(one.schedule.lr_mult, two.schedule.lr_mult, rtol=1e-6)
    assert abs(float(two.schedule.lr_mult[0]) - 1) > 0.1
    scaled = two.schedule.lr_mult[0] * one.steps["matrix"]
    np.testing.assert_allclose(two.steps["matrix"], scaled, rtol=1e-5)


@pytest.mark.parametrize("lopt", [PHASE1, PHASE2], ids=["phase 1", "phase 2"])
def test_nan_loss_reaches_every_parameter(lopt: LearnedOptimizer) -> None:
    optimizer = lopt.opt_fn(_theta(lopt))
    new = optimizer.update(_init(lopt, MATRIX), MATRIX, loss=jnp.asarray(jnp.nan))
    assert np.all(np.isnan(new.params["matrix"]))


def test_leaves_of_equal_shape_are_the_same_together_or_alone() -> None:
    params = {"a": MATRIX["matrix"], "b": 2.0 - MATRIX["matrix"]}
    grads = jax.tree.map(jnp.cos, params)
    both = _compute(PHASE2, params, grads)
    for name in params:
        alone = _compute(PHASE2, {name: params[name]}, {name: grads[name]})
        np.testing.assert_allclose(both.steps[name], alone.steps[name], rtol=1e-5)


def test_update_is_compute_then_advance_and_compiles_itself() -> None:
    optimizer, state = PHASE2.opt_fn(_theta(PHASE2)), _init(PHASE2, MATRIX)
    whole = optimizer.update(state, MATRIX, jnp.float32(1.0))
    halves = advance(state, _compute(PHASE2, MATRIX, MATRIX), None)
    for path, leaf in named_leaves(whole).items():
        np.testing.assert_allclose(leaf, named_leaves(halves)[path], 1e-4, 1e-6, err_msg=path)
    optimizer.update(whole, MATRIX, jnp.float32(2.0))
    assert optimizer._compiled_step._cache_size() == 1


def test_frozen_keys() -> None:
    assert PHASE1.get_frozen_param_keys() == ["lstm_init_state", "rnn_params"]
    assert PHASE2.get_frozen_param_keys() == ["ff_mod_stack"]
    assert celo.build(train_phase=3).get_frozen_param_keys() is None
    assert not hasattr(ADAM, "get_frozen_param_keys")


def _misuse(optimizer: Optimizer) -> dict[str, Any]:
    params = {"layer": {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}}
    state = optimizer.init(params, num_steps=5)
    loss = jnp.float32(1.0)
    less = {"layer": {"w": jnp.ones((2, 2))}}
    other = {"layer": {"w": jnp.ones((2, 3)), "b": jnp.ones(2)}}
    more = {"layer": {**params["layer"], "c": jnp.ones(2)}}
    with_state = optimizer.init(params, model_state={"mean": jnp.ones(2)}, num_steps=5)
    return {
        "num_steps is None": lambda: optimizer.init(params),
        "num_steps must be at least 1": lambda: optimizer.init(params, num_steps=0),
        "layer|steps is int32": lambda: optimizer.init(
            {"layer": {"steps": jnp.ones(2, jnp.int32)}}, num_steps=5
        ),
        "loss is None": lambda: optimizer.update(state, params),
        "scalar loss": lambda: optimizer.update(state, params, jnp.ones(2)),
        "no leaf 'layer|b'": lambda: optimizer.update(state, less, loss),
        "'layer|w' has shape (2, 3)": lambda: optimizer.update(state, other, loss),
        "leaf 'layer|c'": lambda: optimizer.update(state, more, loss),
        "got no model_state": lambda: optimizer.update(with_state, params, loss),
        "init was given none": lambda: optimizer.update(state, params, loss, {"mean": 1.0}),
    }


@pytest.mark.parametrize("lopt", [PHASE2, ADAM], ids=["celo", "celo-adam"])
def test_misuse_is_explained_in_one_sentence(lopt: LearnedOptimizer) -> None:
    for message, call in _misuse(lopt.opt_fn(_theta(lopt))).items():
        with pytest.raises(UsageError) as error:
            call()
        assert message in error.value.message
        assert error.value.hint or "num_steps must be" in message


def test_momentum_start_steps_along_momentum() -> None:
    key = jax.random.PRNGKey(0)
    params = {"w": jax.random.normal(key, (6, 5))}
    # Signs that stay, sizes that differ by orders of magnitude.
    grad = {"w": jnp.sign(jax.random.normal(jax.random.PRNGKey(1), (6, 5)))}
    grad = {"w": grad["w"] * jnp.logspace(-3, 0, 5)}
    for lopt in (PHASE1, PHASE2):
        optimizer = lopt.opt_fn(lopt.momentum_start(jax.random.PRNGKey(2)))
        state = optimizer.init(params, num_steps=100)
        for _ in range(3):
            state = optimizer.update(state, grad, loss=jnp.float32(1.0))
        moved = params["w"] - optimizer.get_params(state)["w"]
        size = float(jnp.sqrt(jnp.mean(jnp.square(params["w"]))))
        assert float(jnp.mean(jnp.sign(moved) == jnp.sign(grad["w"]))) > 0.85
        # Three steps of about 0.003 of the leaf's size; the scheduler's factor starts near one.
        assert 0.5 < float(jnp.mean(jnp.abs(moved))) / (3 * 0.003 * size) < 2.0
    other = PHASE1.momentum_start(jax.random.PRNGKey(3))
    assert not np.array_equal(
        *(t["ff_mod_stack"]["~"]["w0__0"] for t in (other, PHASE1.init(jax.random.PRNGKey(3))))
    )
