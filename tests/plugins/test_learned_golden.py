"""Celo, its phase 1 and Celo-Adam against golden files: every number that a file holds."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo.lopt import theta_from_tree
from celo.lopt.accumulators import factored_leaves
from celo.lopt.features import stack_columns
from celo.lopt.leaves import clip_gradients, widen
from celo.protocol import LearnedOptimizer
from celo.trees import cast_like, named_leaves
from celo_plugins import celo, celo_adam
from celo_plugins.celo import leaf_columns
from celo_plugins.schedule import (
    CeloState,
    ScheduledOptimizer,
    Step,
    advance,
)
from tests.plugins.golden_case import (
    GoldenCase,
    displacement_error,
    published_tree,
    read_case,
    relative_to_max,
)
from tests.shared_folder import golden_files

BUILD: dict[str, Callable[..., LearnedOptimizer]] = {
    "celo": celo.build,
    "celo_phase1": celo.build_phase1,
    "celo_adam": celo_adam.build,
}
STEP_TOLERANCE = {"celo": 3e-4, "celo_phase1": 2e-5, "celo_adam": 3e-4}
FILES = [path for name in BUILD for path in golden_files(f"{name}__*.npz")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden_case_is_reproduced(path: Path) -> None:
    case = read_case(path)
    lopt = _lopt(case.optimizer, tuple(sorted(case.config.items())))
    if case.case == "init":
        _check_init(lopt, case)
        return
    theta = theta_from_tree(lopt, _weights(case))
    optimizer = lopt.opt_fn(theta)
    start = optimizer.init(case.in_dtype(case.tree("params0")), num_steps=int(case["num_steps"]))
    data = tuple(jnp.asarray(case[k]) for k in ("data_x", "data_y", "data_idx") if k in case)
    grads = case.in_dtype(case.tree("grads"))
    with_features = bool(case.flat("feat_raw"))
    final, seen = _replay(lopt, with_features, theta, start, grads, jnp.asarray(case["loss"]), data)
    _check_params_and_steps(case, seen)
    _check_schedule(case, seen)
    _check_state(case, final)
    if "grads_from_data" in seen:
        _check_gradients_from_data(case, seen)
    if with_features:
        _check_features(case, seen)


@functools.cache
def _lopt(optimizer: str, config: tuple[tuple[str, Any], ...]) -> LearnedOptimizer:
    # One object a configuration: it is the static argument of the replay.
    return BUILD[optimizer](**dict(config))


def _weights(case: GoldenCase) -> dict[str, Any]:
    name = "celo-adam" if case.optimizer == "celo_adam" else "celo"
    return case.tree("theta") or published_tree(name)


# The files take most of a minute to compile otherwise; other tests run fully optimised code.
_COMPILE_FAST = {"xla_backend_optimization_level": 0}


@functools.partial(jax.jit, static_argnums=(0, 1), compiler_options=_COMPILE_FAST)
def _replay(
    lopt: LearnedOptimizer,
    with_features: bool,
    theta: Any,
    start: CeloState,
    grads: Any,
    losses: jax.Array,
    data: tuple[jax.Array, ...],
) -> tuple[CeloState, dict[str, Any]]:
    """Runs freely from the initial parameters with the stored gradients.

    It does what `update` does, in its two halves, to see what lies between. Where the file holds
    the data of a real network, its gradients are computed again along the way.
    """
    optimizer: ScheduledOptimizer = lopt.opt_fn(theta)  # pyright: ignore[reportAssignmentType]

    def step(state: CeloState, inputs: Any) -> tuple[CeloState, dict[str, Any]]:
        grad, loss, rows = inputs
        seen = {}
        if data:
            batch = (data[0][rows], data[1][rows])
            recomputed = jax.value_and_grad(_mlp_loss)(state.params, *batch)
            seen["loss_from_data"], seen["grads_from_data"] = recomputed
        computed = optimizer.compute(state, grad, loss)
        new = cast_like(advance(state, computed, None), state)
        seen |= {"params": new.params, "steps": computed.steps, "schedule": computed.schedule}
        if with_features:
            seen["features"] = _features(state.params, grad, computed)
        return new, seen

    rows = data[2] if data else None
    return jax.lax.scan(step, start, (grads, losses, rows))


def _features(params: Any, grad: Any, computed: Step) -> dict[str, tuple[jax.Array, jax.Array]]:
    """All columns of each leaf, raw and normalised, through the functions the update calls."""
    clipped = jax.tree.leaves(clip_gradients(grad))
    structure = jax.tree.structure(params)
    accumulators = zip(
        structure.flatten_up_to(computed.momentum.m),
        structure.flatten_up_to(computed.second_moment.rms),
        factored_leaves(computed.factored, structure),
        strict=True,
    )
    columns = {}
    for (path, p), g, (m, rms, v) in zip(
        named_leaves(params).items(), clipped, accumulators, strict=True
    ):
        blocks, scales = leaf_columns(widen(p), g, m, rms, v)
        raw = stack_columns(blocks, p.shape)
        columns[path] = (raw, raw * scales)
    return columns


def _mlp_loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    first, second = params["mlp/~/linear_0"], params["mlp/~/linear_1"]
    logits = jax.nn.relu(x @ first["w"] + first["b"]) @ second["w"] + second["b"]
    return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(len(y)), y])


def _check_init(lopt: LearnedOptimizer, case: GoldenCase) -> None:
    found, golden = named_leaves(lopt.init(jax.random.PRNGKey(0))), case.flat("theta")
    assert found.keys() == golden.keys()
    for path, array in golden.items():
        assert found[path].dtype == array.dtype
        np.testing.assert_array_equal(found[path], array, err_msg=path)


def _check_params_and_steps(case: GoldenCase, seen: dict[str, Any]) -> None:
    recorded = case["params_steps"] - 1
    longer = 5 if case.case.startswith("long") else 1
    params, steps = named_leaves(seen["params"]), named_leaves(seen["steps"])
    for path, start in case.flat("params0").items():
        for k, at in enumerate(recorded):
            golden = case[f"params|{path}"][k]
            found = np.asarray(params[path][at], np.float32)
            if case.bfloat16:
                assert relative_to_max(found, golden) < 2**-7, (path, at)
            else:
                assert displacement_error(found, golden, start) < longer * 5e-4, (path, at)
            if f"step|{path}" in case:
                tolerance = 2e-2 if case.bfloat16 else longer * STEP_TOLERANCE[case.optimizer]
                error = relative_to_max(steps[path][at], case[f"step|{path}"][k])
                assert error < tolerance, (path, at)


def _check_schedule(case: GoldenCase, seen: dict[str, Any]) -> None:
    schedule = seen["schedule"]
    buffer = schedule.loss_buffer
    inputs = np.asarray(schedule.inputs)
    for found, key, relative, absolute in (
        (buffer.decays[0], "loss_decays", 1e-6, 0.0),
        (buffer.means, "loss_means", 1e-5, 0.0),
        (buffer.running_min, "loss_running_min", 1e-5, 0.0),
        (inputs[:, 9:], "loss_features", 0.0, 1e-3),
        (inputs, "rnn_input", 0.0, 1e-3),
        (schedule.lr_mult, "lr_mult", 5e-4, 0.0),
        (schedule.controls, "controls", 5e-4, 0.0),
    ):
        if key in case:
            np.testing.assert_allclose(found, case[key], relative, absolute, err_msg=key)


def _check_state(case: GoldenCase, final: CeloState) -> None:
    found, golden = named_leaves(final), case.flat("state")
    assert {path for path in found if not path.startswith("params|")} == golden.keys()
    for path, array in golden.items():
        leaf = found[path]
        assert leaf.shape == array.shape, path
        kind = path.split("|")[0]
        if np.issubdtype(array.dtype, np.integer):
            np.testing.assert_array_equal(leaf, array, err_msg=path)
        elif kind == "lstm_hidden_state":
            np.testing.assert_allclose(leaf, array, atol=1e-3, err_msg=path)
        elif kind == "loss_buffer":
            np.testing.assert_allclose(leaf, array, rtol=1e-5, err_msg=path)
        else:
            assert relative_to_max(leaf, array) < (2e-2 if case.bfloat16 else 5e-6), path


def _check_gradients_from_data(case: GoldenCase, seen: dict[str, Any]) -> None:
    np.testing.assert_allclose(seen["loss_from_data"], case["loss"], rtol=1e-5)
    for path, leaf in named_leaves(seen["grads_from_data"]).items():
        assert relative_to_max(leaf, case[f"grads|{path}"]) < 1e-3, path


def _check_features(case: GoldenCase, seen: dict[str, Any]) -> None:
    """Columns of the last update."""
    raw_tolerance, norm_tolerance = (2e-2, 2e-2) if case.bfloat16 else (5e-6, 3e-5)
    for path, pair in seen["features"].items():
        golden = case[f"feat_raw|{path}"]
        raw, normalised = (np.asarray(x[-1]).reshape(golden.shape) for x in pair)
        for k in range(golden.shape[-1]):
            assert relative_to_max(raw[..., k], golden[..., k]) < raw_tolerance, (path, k)
        error = np.abs(normalised - case[f"feat_norm|{path}"])
        assert np.max(error) < norm_tolerance, path
