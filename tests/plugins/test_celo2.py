"""What must hold for Celo2, Celo2-base and their optax form whatever the numbers are."""

from __future__ import annotations

import dataclasses
import functools
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import serialization

from celo.errors import UsageError, WeightsError, WeightsMissingError
from celo.protocol import LearnedOptimizer, state_record
from celo.trees import named_leaves
from celo_plugins import celo2
from celo_plugins.celo2 import base as celo2_base
from celo_plugins.celo2 import leaf_paths, load_checkpoint, scale_by_adam, scale_by_celo2
from celo_plugins.celo2 import rule as celo2_rule
from tests.shared_folder import REPOSITORY

COMPILE_FAST = {"xla_backend_optimization_level": 0}
CELO2, BASE = celo2.build(), celo2_base.build()
SHAPES = {"layer": {"b": (4,), "w": (4, 3)}, "kernel": (2, 3, 4), "scalar": (), "empty": (0, 3)}


@functools.cache
def _theta() -> Any:
    # Not the zeros of the initial biases: they hide mistakes.
    rng = np.random.default_rng(1)
    template = jax.eval_shape(BASE.init, jax.random.PRNGKey(0))
    return jax.tree.map(lambda x: jnp.asarray(0.5 * rng.normal(size=x.shape), x.dtype), template)


def _tree(seed: int, dtype: Any = jnp.float32) -> Any:
    rng = np.random.default_rng(seed)
    is_shape = lambda x: isinstance(x, tuple)  # noqa: E731
    return jax.tree.map(
        lambda shape: jnp.asarray(rng.normal(size=shape), dtype), SHAPES, is_leaf=is_shape
    )


@functools.cache
def _update(lopt: LearnedOptimizer) -> Any:
    """One jitted update for all tests."""
    return jax.jit(
        lambda theta, state, grad: lopt.opt_fn(theta).update(state, grad),
        compiler_options=COMPILE_FAST,
    )


def _first(lopt: LearnedOptimizer, params: Any) -> Any:
    return lopt.opt_fn(_theta()).init(params)


def _assert_close(found: Any, expected: Any, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    want = named_leaves(expected)
    assert named_leaves(found).keys() == want.keys()
    for path, leaf in named_leaves(found).items():
        np.testing.assert_allclose(leaf, want[path], rtol, atol, err_msg=path)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_state_keeps_its_form_and_step_mult_is_the_size_of_a_step(dtype: Any) -> None:
    params, grads = _tree(0, dtype), _tree(1, dtype)
    state = _first(CELO2, params)
    form = jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), state)
    new = _update(CELO2)(_theta(), state.replace(step_mult=jnp.float32(0.5)), grads)
    assert jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), new) == form
    assert int(new.iteration) == int(new.state_1d.iteration) == 1
    tolerance = 1e-5 if dtype == jnp.float32 else 1e-2
    for path, axes in (("layer|w", (0, 1)), ("kernel", (1, 2)), ("scalar", ())):
        step = np.asarray(named_leaves(new.params)[path] - named_leaves(params)[path], np.float32)
        size = np.sqrt(np.mean(step**2, axis=axes))
        np.testing.assert_allclose(size, 0.5, rtol=tolerance, err_msg=path)
    # Adam's multiplier is a number of its own, fixed at the start.
    assert new.state_1d.mom_rolling.m["layer"]["w"] is None
    assert new.state_2d.mom_rolling.m["layer"]["b"] is None
    g = np.asarray(grads["layer"]["b"], np.float64)
    adam = 0.1 * g / np.sqrt(0.05 * g**2 + 1e-8)
    moved = np.asarray(params["layer"]["b"], np.float64) - np.asarray(new.params["layer"]["b"])
    if dtype == jnp.float32:
        np.testing.assert_allclose(moved, 0.02 * adam, rtol=1e-3)


def _adam(p: Any, grads: list[Any], step: float, b2: float, decay: float = 0.0) -> Any:
    """Celo2's Adam in float64."""
    p, m, v = np.asarray(p, np.float64), 0.0, 0.0
    for g in grads:
        g = np.asarray(g, np.float64)
        m, v = 0.9 * m + 0.1 * g, b2 * v + (1 - b2) * g**2
        p = p - step * m / np.sqrt(v + 1e-8) - decay * p * step
    return p


def test_all_leaves_may_go_to_adam() -> None:
    lopt = celo2.build(adam_regex=".", weight_decay=0.3, adam_b2=0.9, adam_mult=10.0)
    params, grads = _tree(0), [_tree(1), jax.tree.map(lambda g: 1e5 * g, _tree(2))]
    state = _first(lopt, params)
    assert jax.tree.leaves(state.state_2d.mom_rolling.m) == []
    for grad in grads:
        state = _update(lopt)(_theta(), state, grad)
    assert int(state.iteration) == 2
    for path, p in named_leaves(params).items():
        expected = _adam(p, [named_leaves(g)[path] for g in grads], 0.01, 0.9, 0.3)
        found = named_leaves(state.params)[path]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6, err_msg=path)


def test_weights_serve_both_and_the_settings_are_all_that_differs() -> None:
    """Without routing and orthogonalisation Celo2 is Celo2-base."""
    assert jax.tree.structure(CELO2.init(jax.random.PRNGKey(0))) == jax.tree.structure(_theta())
    params, grads = ({"layer": tree["layer"]} for tree in (_tree(0), _tree(1)))
    base = _update(BASE)(_theta(), _first(BASE, params), grads)
    same = celo2.build(adam_regex="", orthogonalize=False)
    state = _first(same, params)
    assert jax.tree.leaves(state.state_1d.mom_rolling.m) == []
    assert jax.tree.structure(_first(celo2.build(adam_regex=None), params)) == jax.tree.structure(
        state
    )
    new = _update(same)(_theta(), state, grads)
    _assert_close(new.params, base.params)
    _assert_close(new.state_2d.fac_rolling, base.fac_rolling)
    whole = _update(CELO2)(_theta(), _first(CELO2, _tree(0)), _tree(1))
    assert np.max(np.abs(whole.params["layer"]["w"] - base.params["layer"]["w"])) > 1e-4


@state_record
class Layer:
    b: jax.Array
    w: jax.Array


def test_routing_looks_at_names() -> None:
    x = jnp.ones(2)
    tree = {"b": x, "f/~/g": {"b": x, "scale": x}, "list": [{"b": x}, x], "layer": Layer(x, x)}
    expected = ["b", "f/~/g/b", "f/~/g/scale", "layer/.b", "layer/.w", "list/[0]/b", "list/[1]"]
    assert leaf_paths(tree) == expected
    assert leaf_paths(x) == [""]
    for regex, routed in (
        (r"/b$", ["f/~/g/b", "list/[0]/b"]),
        (r"(/|^)\.?b$", ["b", "f/~/g/b", "layer/.b", "list/[0]/b"]),
        (r"\[1\]$|\.w", ["layer/.w", "list/[1]"]),
    ):
        state = jax.eval_shape(lambda r=regex: _first(celo2.build(adam_regex=r), tree))
        assert leaf_paths(state.state_1d.mom_rolling.m) == routed
        assert leaf_paths(state.state_2d.mom_rolling.m) == [p for p in expected if p not in routed]
    with pytest.raises(UsageError, match="no regular expression"):
        celo2.build(adam_regex="(b")


def test_a_bad_gradient_spreads_as_published() -> None:
    params, grads = _tree(0), _tree(1)
    update = _update(CELO2)

    def with_bad(value: float) -> Any:
        bad = {
            "layer": {
                "b": grads["layer"]["b"].at[1].set(value),
                "w": grads["layer"]["w"].at[2, 1].set(value),
            },
            "kernel": grads["kernel"].at[1, 2, 0].set(value),
        }
        return update(_theta(), _first(CELO2, params), grads | bad).params

    finite = {path: np.isfinite(leaf) for path, leaf in named_leaves(with_bad(np.nan)).items()}
    assert finite["layer|b"].tolist() == [True, False, True, True]
    assert not finite["layer|w"].any()
    assert finite["scalar"].all(), "other leaves are not affected"
    assert not finite["kernel"][1].any()
    finite = {path: np.isfinite(leaf) for path, leaf in named_leaves(with_bad(np.inf)).items()}
    assert finite["layer|b"].tolist() == [True, False, True, True]
    assert finite["layer|w"].all() and finite["kernel"].all(), "clipped"
    _assert_close(
        {"w": with_bad(1e4)["layer"]["w"], "kernel": with_bad(1e9)["kernel"]},
        {"w": with_bad(np.inf)["layer"]["w"], "kernel": with_bad(np.inf)["kernel"]},
        rtol=0.0,
    )


def test_the_second_output_counts_where_exp_mult_is_not_zero() -> None:
    grads = {"x": jnp.asarray([0.1, -2.0, 0.7])}

    def direction(theta: Any, exp_mult: Any) -> Any:
        rule = celo2_rule.Celo2Rule(exp_mult=exp_mult)
        return celo2_rule.rule_directions(rule, theta, celo2_rule.init_rule(grads), grads, grads)[0]

    plain = jax.jit(lambda theta: direction(theta, 0.0), compiler_options=COMPILE_FAST)(_theta())
    scaled = jax.jit(direction, compiler_options=COMPILE_FAST)
    _assert_close(scaled(_theta(), 0.0), plain)
    changed = scaled(_theta(), 0.5)
    np.testing.assert_allclose(jnp.mean(changed["x"] ** 2), 1.0, rtol=1e-5)
    ratios = changed["x"] / plain["x"]
    assert np.all(ratios > 0) and np.max(np.abs(ratios / ratios[0] - 1)) > 0.01
    # A second output that is one constant cancels in the normalisation.
    network = _theta()["ff_mod_stack"]["~"]
    constant = network | {"w2": network["w2"].at[:, 1].set(0.0)}
    _assert_close(scaled({"ff_mod_stack": {"~": constant}}, 0.5), plain)


def test_optax_wrappers_take_it_and_it_keeps_bfloat16() -> None:
    params, grads = {"x": jnp.ones(3, jnp.bfloat16)}, {"x": jnp.asarray([1, -2, 0.5], jnp.bfloat16)}
    inner = optax.apply_if_finite(scale_by_celo2(_theta(), orthogonalize=False), 3)
    wrapped = optax.MultiSteps(optax.chain(inner, optax.scale(-0.1)), every_k_schedule=2)
    step = jax.jit(wrapped.update, compiler_options=COMPILE_FAST)
    state = wrapped.init(params)
    first, state = step(grads, state, params)
    second, state = step(grads, state, params)
    assert not np.any(first["x"]) and np.all(second["x"] != 0)
    assert second["x"].dtype == jnp.bfloat16


def test_adam_transformation_corrects_its_bias_by_default() -> None:
    params, grads = {"x": jnp.zeros(2)}, [{"x": jnp.asarray([3.0, -0.5])}, {"x": jnp.ones(2)}]
    transform = scale_by_adam()
    reference = optax.scale_by_adam(b1=0.9, b2=0.999, eps=0.0, eps_root=1e-8)
    state, other = transform.init(params), reference.init(params)
    for grad in grads:
        found, state = transform.update(grad, state, params, value=1.0)
        expected, other = reference.update(grad, other)
        _assert_close(found, expected)


def test_misuse_of_the_optax_form_is_explained() -> None:
    transform = scale_by_celo2(_theta())
    params = {"w": jnp.ones(2)}
    state = transform.init(params)
    other = {"ff_mod_stack": {"~": _theta()["ff_mod_stack"]["~"] | {"b0": jnp.zeros(4)}}}
    for error, message, call in (
        (UsageError, "params is None", lambda: transform.update(params, state)),
        (UsageError, "'w' has shape", lambda: transform.update({"w": jnp.ones(3)}, state, params)),
        (UsageError, "w is int32", lambda: transform.init({"w": jnp.ones(2, jnp.int32)})),
        (UsageError, "no setting 'step_mult'", lambda: scale_by_celo2(_theta(), step_mult=1.0)),
        (WeightsError, "b0 has shape (4,)", lambda: scale_by_celo2(other)),
    ):
        with pytest.raises(error) as caught:
            call()
        assert message in caught.value.message and caught.value.hint


def _write(path: Path, tree: Any) -> Path:
    path.write_bytes(serialization.to_bytes(tree))
    return path


def test_checkpoints_are_read_and_bad_ones_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A file with the name of an entry of the zoo is still a file.
    monkeypatch.chdir(tmp_path)
    _write(tmp_path / "celo2", _theta())
    theta = load_checkpoint("celo2", orthogonalize=False)
    assert jax.tree.structure(theta) == jax.tree.structure(_theta())
    _assert_close(theta, _theta(), rtol=0, atol=0)

    network = _theta()["ff_mod_stack"]["~"]
    missing = _write(tmp_path / "a", {"ff_mod_stack": {"~": {"b0": network["b0"]}}})
    nan = {"ff_mod_stack": {"~": network | {"b0": network["b0"] * jnp.nan}}}
    pickled = tmp_path / "c"
    pickled.write_bytes(pickle.dumps({"ff_mod_stack": 1}))
    for path, error, message in (
        (missing, WeightsError, "do not fit celo2-base: ff_mod_stack|~|b1 is missing"),
        (_write(tmp_path / "b", nan), WeightsError, "not finite"),
        (pickled, WeightsError, "pickle"),
        (tmp_path / "nowhere", WeightsMissingError, "nowhere"),
    ):
        with pytest.raises(error) as caught:
            load_checkpoint(path)
        assert message in caught.value.message
    with pytest.raises(UsageError, match="no setting 'hidden_size'"):
        load_checkpoint("celo2", hidden_size=4)


def test_settings_of_both_have_one_definition() -> None:
    rule = {f.name for f in dataclasses.fields(celo2_rule.Celo2Rule)}
    base = {f.name for f in dataclasses.fields(celo2_base.Celo2BaseConfig)}
    whole = {f.name for f in dataclasses.fields(celo2.Celo2Config)}
    assert rule < base < whole
    assert celo2.Celo2Config().orthogonalize and not celo2_base.Celo2BaseConfig().orthogonalize


@pytest.mark.slow
def test_the_example_learns_with_weights_that_make_it_normalised_adam(tmp_path: Path) -> None:
    theta = jax.tree.map(lambda x: np.zeros_like(x), _theta())
    network = theta["ff_mod_stack"]["~"]
    # relu(x) - relu(-x) for the column of the fastest momentum over the root of the moment.
    network["w0__5"][0, :2] = 1, -1
    network["w1"][[0, 1], [0, 1]] = 1
    network["w2"][:2, 0] = 1, -1
    (tmp_path / "celo2-base").mkdir()
    _write(tmp_path / "celo2-base" / "theta.state", theta)
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "examples" / "celo2_optax.py")],
        env={**os.environ, "CELO_ZOO_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    losses = [float(line.split()[-1]) for line in done.stdout.splitlines()]
    assert losses[-1] < 0.1 < 2.0 < losses[0]
