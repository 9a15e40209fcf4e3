"""Every golden file of an optimizer or a schedule, whatever the folder holds.

A new file is tested without an edit here; one that names nothing we have fails.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo.protocol import LearnedOptimizer, Optimizer
from celo.testing.compiling import compiled
from celo.trees import named_leaves
from tests.plugins import golden_details, golden_specs
from tests.plugins.golden_case import (
    GoldenCase,
    displacement_error,
    read_case,
    relative_to_max,
)
from tests.shared_folder import golden_files

# Files of tasks, metrics and meta-training are tested beside what they concern.
ELSEWHERE = ("tasks", "metrics", "pes", "velodrome")
FILES = [p for p in golden_files("*__*.npz") if p.stem.split("__")[0] not in ELSEWHERE]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden_file_is_reproduced(path: Path) -> None:
    case = read_case(path)
    check = golden_details.whole_file(case)
    if check is not None:
        check(case)
    elif case.case == "init":
        _check_init(case)
    else:
        _check_replay(case)


def _check_init(case: GoldenCase) -> None:
    lopt = golden_specs.learned_without_weights(case)
    found, golden = named_leaves(lopt.init(jax.random.PRNGKey(0))), case.flat("theta")
    assert found.keys() == golden.keys()
    for path, array in golden.items():
        assert found[path].dtype == array.dtype
        np.testing.assert_array_equal(found[path], array, err_msg=path)


def _check_replay(case: GoldenCase) -> None:
    details = golden_details.of(case)
    if golden_specs.is_learned(case):
        lopt, theta = golden_specs.learned(case)
    else:
        lopt, theta = _Fixed(golden_specs.handcrafted(case)), None
    start = lopt.opt_fn(theta).init(
        case.in_dtype(case.tree("params0")), num_steps=int(case["num_steps"])
    )
    inputs = {"grad": case.in_dtype(case.tree("grads")), "loss": jnp.asarray(case["loss"])}
    if "is_valid" in case:
        inputs["is_valid"] = jnp.asarray(case["is_valid"])
    if "data_idx" in case:
        inputs["rows"] = jnp.asarray(case["data_idx"])
    data = tuple(jnp.asarray(case[k]) for k in ("data_x", "data_y") if k in case)
    loss = str(case["mlp_loss"]) if "mlp_loss" in case else "softmax"
    final, seen = _replay(lopt, details.observe, loss, theta, start, inputs, data)
    _check_params(case, seen["params"])
    _check_state(case, final)
    if data:
        _check_gradients_from_data(case, seen)
    details.check(case, seen)


class _Fixed(LearnedOptimizer):
    """A hand-crafted optimizer in the clothes of a learned one."""

    def __init__(self, optimizer: Optimizer):
        self.optimizer = optimizer

    def opt_fn(self, theta: Any, is_training: bool = False) -> Optimizer:
        return self.optimizer


# They take most of a minute to compile otherwise; other tests run fully optimised code.
@functools.partial(compiled, static_argnums=(0, 1, 2))
def _replay(
    lopt: LearnedOptimizer,
    observe: Callable[..., tuple[Any, dict[str, Any]]],
    loss_kind: str,
    theta: Any,
    start: Any,
    inputs: dict[str, Any],
    data: tuple[jax.Array, ...],
) -> tuple[Any, dict[str, Any]]:
    """Runs freely from the initial parameters with the stored gradients.

    Where the file holds the data of a real network, its gradients are computed along the way.
    """
    optimizer = lopt.opt_fn(theta)

    def step(state: Any, inputs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        inputs = dict(inputs)
        rows = inputs.pop("rows", slice(None))
        new, seen = observe(optimizer, state, **inputs)
        if data:
            batch = (data[0][rows], data[1][rows])
            loss_fn = functools.partial(_mlp_loss, loss_kind)
            recomputed = jax.value_and_grad(loss_fn)(optimizer.get_params(state), *batch)
            seen["loss_from_data"], seen["grads_from_data"] = recomputed
        return new, seen | {"params": optimizer.get_params(new)}

    return jax.lax.scan(step, start, inputs)


def _mlp_loss(kind: str, params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    first, second = params["mlp/~/linear_0"], params["mlp/~/linear_1"]
    logits = jax.nn.relu(x @ first["w"] + first["b"]) @ second["w"] + second["b"]
    chosen = jnp.arange(len(y)), y
    if kind == "softmax":
        return -jnp.mean(jax.nn.log_softmax(logits)[chosen])
    return jnp.mean(jnp.sum(jax.nn.softplus(logits), axis=-1) - logits[chosen])


def _check_params(case: GoldenCase, params: Any) -> None:
    for path, found in named_leaves(params).items():
        start = case[f"params0|{path}"]
        for k, at in enumerate(case["params_steps"] - 1):
            golden = case[f"params|{path}"][k]
            value = np.asarray(found[at], np.float32)
            if case.bfloat16:
                assert relative_to_max(value, golden) < 2**-7, (path, at)
            elif "noise_rel_update" in case:
                moved = np.max(np.abs(golden - start), initial=0.0)
                size = np.max(np.abs(golden), initial=0.0)
                error = np.max(np.abs(value - golden), initial=0.0)
                allowed = max(golden_details.relative_tolerance(case) * moved, 5e-7 * max(1, size))
                assert error <= allowed, (path, at, error, moved)
            else:
                tolerance = golden_details.longer(case) * 5e-4
                assert displacement_error(value, golden, start) < tolerance, (path, at)


def _check_state(case: GoldenCase, final: Any) -> None:
    found = {p: x for p, x in named_leaves(final).items() if not p.startswith("params|")}
    golden = {p: x for p, x in case.flat("state").items() if not p.startswith("params|")}
    if not golden:
        return
    if case.optimizer in golden_details.STATE_OF_ITS_OWN:
        golden_details.STATE_OF_ITS_OWN[case.optimizer](case, final)
        return
    assert found.keys() == golden.keys()
    for path, array in golden.items():
        leaf = found[path]
        assert leaf.shape == array.shape, path
        if np.issubdtype(array.dtype, np.integer):
            np.testing.assert_array_equal(leaf, array, err_msg=path)
            continue
        golden_details.check_state_leaf(case, path, np.asarray(leaf, np.float32), array)


def _check_gradients_from_data(case: GoldenCase, seen: dict[str, Any]) -> None:
    np.testing.assert_allclose(seen["loss_from_data"], case["loss"], rtol=1e-5)
    for path, leaf in named_leaves(seen["grads_from_data"]).items():
        assert relative_to_max(leaf, case[f"grads|{path}"]) < 1e-3, path
