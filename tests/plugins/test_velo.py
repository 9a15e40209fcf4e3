"""VeLO where golden files do not look: odd leaves, dtypes, transformations, misuse."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo.errors import UsageError, WeightsError
from celo.registry import optimizer as registered
from celo.trees import named_leaves
from celo_plugins import velo
from celo_plugins.velo import leaf_inputs

COMPILE_FAST = {"xla_backend_optimization_level": 0}
SMALL = {"lstm_hidden_size": 8, "param_inits": 3}
LOPT = velo.build_s(**SMALL)
SHAPES = {"scalar": (), "vector": (3,), "row": (1, 3), "matrix": (3, 2), "empty": (0, 2)}


@functools.cache
def _theta() -> Any:
    # Not the zeros of the initial biases: they hide mistakes.
    key = jax.random.PRNGKey(1)
    leaves, structure = jax.tree.flatten(jax.eval_shape(LOPT.init, key))
    keys = jax.random.split(key, len(leaves))
    return structure.unflatten(
        [0.3 * jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)]
    )


def _params(dtype: Any = jnp.float32, names: tuple[str, ...] = tuple(SHAPES)) -> Any:
    rng = np.random.default_rng(0)
    return {name: jnp.asarray(rng.normal(size=SHAPES[name]), dtype) for name in names}


def _one_update(theta: Any, state: Any, grad: Any, loss: jax.Array) -> Any:
    return LOPT.opt_fn(theta).update(state, grad, loss=loss)


_update: Any = jax.jit(_one_update, donate_argnums=1, compiler_options=COMPILE_FAST)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_leaves_of_every_kind_move_and_keep_their_form(dtype: Any) -> None:
    params = _params(dtype)
    grads = jax.tree.map(jnp.sin, params)
    state = LOPT.opt_fn(_theta()).init(jax.tree.map(jnp.copy, params), num_steps=20)
    form = jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), state)
    compilations = _update._cache_size()
    for i in range(3):
        state = _update(_theta(), state, grads, jnp.float32(2.0 - 0.3 * i))
    assert _update._cache_size() == compilations + 1
    assert jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), state) == form
    for path, leaf in named_leaves(state).items():
        # Means over the rows of an empty matrix are nobody's input.
        finite = path.startswith("fac_rolling") or np.all(np.isfinite(np.asarray(leaf, np.float32)))
        assert finite, path
    if dtype == jnp.float32:
        assert all(np.all(state.params[name] != params[name]) for name in params)


def test_a_nan_loss_reaches_every_parameter_at_once() -> None:
    params = _params()
    state = LOPT.opt_fn(_theta()).init(jax.tree.map(jnp.copy, params), num_steps=20)
    new = _update(_theta(), state, params, jnp.float32(jnp.nan))
    for path, leaf in named_leaves(new.params).items():
        assert np.all(np.isnan(leaf)), path


def _history(shapes: list[tuple[int, ...]]) -> Any:
    """A state whose accumulators hold something; its second leaf has momenta far from zero."""
    rng = np.random.default_rng(2)
    params = [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]
    state = LOPT.opt_fn(_theta()).init(params, num_steps=20)
    m = [rng.normal(size=(*shape, 3)) + 2000.0 * (i == 1) for i, shape in enumerate(shapes)]
    rms = [np.square(rng.normal(size=(*shape, 1))) for shape in shapes]
    return state.replace(
        mom_rolling=state.mom_rolling.replace(m=[jnp.asarray(x, jnp.float32) for x in m]),
        rms_rolling=state.rms_rolling.replace(rms=[jnp.asarray(x, jnp.float32) for x in rms]),
    )


def test_what_the_scheduler_sees_of_a_leaf() -> None:
    shapes = [(), (7,), (1, 5), (4, 3), (2, 3, 2), (2, 2, 2, 2, 2)]
    state = _history(shapes)
    found = np.asarray(jax.jit(leaf_inputs, compiler_options=COMPILE_FAST)(state))

    def squash(x: Any) -> np.ndarray:
        return np.clip(np.log(1e-8 + np.abs(10 * x)), -5, 5) * 0.5

    for i, rank in enumerate([0, 1, 1, 2, 3, None]):
        p = np.asarray(state.params[i], np.float64)
        scale = 1 / np.sqrt(max(1e-9, np.mean(p**2)))
        m = np.asarray(state.mom_rolling.m[i], np.float64).reshape(-1, 3) * scale
        rms = np.asarray(state.rms_rolling.rms[i], np.float64).reshape(-1, 1) * scale
        one_hot = [float(rank == k) for k in range(5)]
        spread, distance = (np.mean((x - np.mean(m, axis=0)) ** 2, axis=0) for x in (m, rms))
        row = np.concatenate([squash(np.mean(rms, axis=0)), one_hot, squash(spread)])
        np.testing.assert_allclose(found[i, :9], row, rtol=1e-3, atol=1e-4, err_msg=str(i))
        np.testing.assert_allclose(found[i, 9:], squash(distance), rtol=1e-4, err_msg=str(i))


def test_an_empty_leaf_is_one_of_zeros() -> None:
    state = LOPT.opt_fn(_theta()).init({"empty": jnp.zeros((0, 2))}, num_steps=20)
    zeros = LOPT.opt_fn(_theta()).init({"zeros": jnp.zeros((3, 2))}, num_steps=20)
    found, expected = np.asarray(leaf_inputs(state)), np.asarray(leaf_inputs(zeros))
    kept = [0, *range(6, 12)]
    np.testing.assert_array_equal(found[:, kept], expected[:, kept])


def test_vmap_over_theta_horizon_and_multiplier_equals_a_loop() -> None:
    thetas = jax.tree.map(lambda x: jnp.stack([x, 1.1 * x]), _theta())
    params = _params(names=("vector",))  # one leaf: it is its own maximum
    grads = jax.tree.map(jnp.cos, params)
    horizons, multipliers = jnp.asarray([15, 40]), jnp.asarray([1.0, 7.0])

    def train(theta: Any, num_steps: jax.Array, ff_mult: jax.Array) -> Any:
        optimizer = velo.build_s(ff_mult=ff_mult, **SMALL).opt_fn(theta)
        state = optimizer.init(params, num_steps=num_steps)

        def step(state: Any, loss: jax.Array) -> tuple[Any, None]:
            return optimizer.update(state, grads, loss=loss), None

        state = jax.lax.scan(step, state, jnp.asarray([3.0, 2.0, 2.5, 1.0]))[0]
        return state.params["vector"] - params["vector"]

    inputs = (thetas, horizons, multipliers)
    together = jax.jit(jax.vmap(train), compiler_options=COMPILE_FAST)(*inputs)
    one = jax.jit(train, compiler_options=COMPILE_FAST)
    for i in range(2):
        alone = one(*jax.tree.map(lambda x, i=i: x[i], inputs))
        np.testing.assert_allclose(together[i], alone, rtol=1e-3)
    assert abs(float(together[1, 0] / together[0, 0])) > 2, "the multiplier has no effect"


def _products(leaves: int) -> int:
    params = {f"{i}": jnp.ones((i + 1,)) for i in range(leaves)}
    optimizer = LOPT.opt_fn(_theta())
    state = optimizer.init(params, num_steps=20)
    jaxpr = jax.make_jaxpr(optimizer.compute)(state, params, jnp.float32(1.0))
    return str(jaxpr).count("dot_general")


def test_no_matrix_product_is_made_leaf_by_leaf() -> None:
    assert 0 < _products(1) == _products(4)


def test_the_bugs_of_older_weights_are_available() -> None:
    params = _params(names=("vector",))
    for forgets in (False, True):
        optimizer = velo.build_s(use_bugged_next_lstm_state=forgets, **SMALL).opt_fn(_theta())
        state = optimizer.init(params, num_steps=1000)
        assert len(set(np.asarray(state.loss_buffer.decays).tolist())) == 10
        schedule = jax.jit(optimizer.schedule)(state, jnp.float32(1.0))
        old, new = state.lstm_hidden_state.cell, schedule.lstm_state.cell
        assert np.array_equal(old, new) == forgets
    short = velo.build_s(use_bugged_loss_features=True, **SMALL).opt_fn(_theta())
    decays = np.asarray(short.init(params, num_steps=1000).loss_buffer.decays)
    np.testing.assert_allclose(decays, np.exp(-0.1), rtol=1e-6)


def test_the_three_published_configurations() -> None:
    sizes = {"velo_s": (64, 32, 1.0), "VeLO": (512, 256, 1.0), "velo_4000": (512, 256, 100.0)}
    for name, (hidden_size, copies, ff_mult) in sizes.items():
        declared = {h.name: h.default for h in registered(name).record.hyperparameters}
        assert declared["lstm_hidden_size"] == hidden_size
        assert (declared["param_inits"], declared["ff_mult"]) == (copies, ff_mult)
    theta = jax.eval_shape(velo.build_4000().init, jax.random.PRNGKey(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(theta)) == 2_320_385


def test_misuse_is_explained() -> None:
    with pytest.raises(WeightsError) as error:
        velo.build(lstm_hidden_size=8, param_inits=4).opt_fn(_theta())
    assert "do not fit velo: ff_mod_stack|~|b0 has shape (3, 4) instead of (4, 4)" in str(error)
    optimizer, params = LOPT.opt_fn(_theta()), _params(names=("vector",))
    with pytest.raises(UsageError, match="velo-s needs the length of the run"):
        optimizer.init(params)
    with pytest.raises(UsageError, match="velo-s reads the training loss"):
        optimizer.update(optimizer.init(params, num_steps=5), params)
