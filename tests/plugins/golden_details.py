"""What golden files hold beyond parameters and states, and how near is near for each family."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from celo.lopt import scheduled, scheduled_mlp
from celo.lopt.accumulators import FactoredLeaf
from celo.lopt.features import stack_columns
from celo.lopt.leaves import clip_gradients, widen
from celo.lopt.perparam_mlp import column_scales
from celo.optim.schedules import (
    Cosine,
    ExponentialDecay,
    LinearRampupSqrtDecay,
    PiecewiseLinear,
)
from celo.trees import cast_like, named_leaves
from celo_plugins.celo2 import rule as celo2_rule
from tests.plugins.golden_case import GoldenCase, relative_to_max
from tests.plugins.golden_optax import check_optax_file
from tests.plugins.golden_shampoo import check_shampoo_state

Seen = dict[str, Any]

STATE_OF_ITS_OWN = {"shampoo": check_shampoo_state}
"""Optimizers whose golden states are those of a library that ours does not wrap."""

STEP_TOLERANCE = {
    "celo": 3e-4,
    "celo_phase1": 2e-5,
    "celo_adam": 3e-4,
    "celo2": 5e-5,
    "celo2base": 2e-5,
}


@dataclasses.dataclass(frozen=True)
class Details:
    """How a file is replayed and what is compared besides parameters and state.

    Attributes:
      observe: (optimizer, state, grad=, loss=, ...) -> (new state, what was seen on the way).
      check: (case, what was seen, stacked over updates) -> None, or an AssertionError.
    """

    observe: Callable[..., tuple[Any, Seen]]
    check: Callable[[GoldenCase, Seen], None]


def of(case: GoldenCase) -> Details:
    celo2 = case.optimizer in ("celo2", "celo2base")
    if celo2 or case.optimizer in ("celo", "celo_phase1", "celo_adam"):
        with_features = bool(case.flat("feat_raw"))
        observe = _observe_celo2 if celo2 else _observe_scheduled
        return Details(functools.partial(observe, with_features), _check_seen)
    return Details(_observe_update, lambda case, seen: None)


def longer(case: GoldenCase) -> int:
    """Files of 200 updates are allowed five times the error."""
    return 5 if case.case.startswith("long") else 1


def relative_tolerance(case: GoldenCase) -> float:
    """Error allowed relative to how far a leaf has moved."""
    if case.optimizer == "shampoo":
        return 3e-3
    return max(30 * float(case["noise_rel_update"]), 3e-4)


def check_state_leaf(case: GoldenCase, path: str, found: np.ndarray, golden: np.ndarray) -> None:
    """One floating-point leaf of the final state."""
    kind = path.split("|")[0]
    if "noise_rel_update" in case:
        tolerance = 2e-2 if case.bfloat16 else 1e-4
        error = np.max(np.abs(found - golden), initial=0.0)
        size = np.max(np.abs(golden), initial=0.0)
        assert error <= tolerance * size + 1e-7 * (kind == "lstm_hidden_state"), (path, error, size)
    elif kind == "lstm_hidden_state":
        np.testing.assert_allclose(found, golden, atol=1e-3, err_msg=path)
    elif kind == "loss_buffer":
        np.testing.assert_allclose(found, golden, rtol=1e-5, err_msg=path)
    else:
        assert relative_to_max(found, golden) < (2e-2 if case.bfloat16 else 5e-6), path


def _observe_update(optimizer: Any, state: Any, **inputs: Any) -> tuple[Any, Seen]:
    grad = inputs.pop("grad")
    return optimizer.update(state, grad, **inputs), {}


def _observe_scheduled(
    with_features: bool, optimizer: Any, state: Any, grad: Any, loss: Any
) -> tuple[Any, Seen]:
    """What `update` of Celo does, in its two halves, to see what lies between."""
    step = optimizer.compute(state, grad, loss)
    new = cast_like(scheduled.advance(state, step, None), state)
    seen = {"steps": step.steps, "schedule": step.schedule}
    if with_features:
        averages = (step.momentum.m, step.second_moment.rms, step.factored)
        seen["features"] = _features(_scheduled_columns, state.params, grad, *averages)
    return new, seen


def _observe_celo2(
    with_features: bool, optimizer: Any, state: Any, grad: Any, loss: Any
) -> tuple[Any, Seen]:
    """The same for Celo2, whose steps are directions; leaves of Adam have no columns."""
    directions, averages = optimizer.compute(state, grad)
    new = cast_like(optimizer.advance(state, directions, averages, None), state)
    seen = {"steps": directions}
    if with_features:
        rule = averages[1] if isinstance(averages, tuple) else averages
        averages = (rule.mom_rolling.m, rule.rms_rolling.rms, rule.fac_rolling)
        seen["features"] = _features(celo2_rule.leaf_columns, state.params, grad, *averages)
    return new, seen


def _scheduled_columns(*leaf: Any) -> tuple[Any, jax.Array]:
    blocks, means = scheduled_mlp.leaf_columns(*leaf)
    return blocks, column_scales(means, eps=scheduled_mlp.EPS)


def _features(
    leaf_columns: Callable[..., Any], params: Any, grad: Any, m: Any, rms: Any, v: Any
) -> dict[str, tuple[jax.Array, jax.Array]]:
    """All columns of each leaf, raw and normalised, by the function that the update calls."""
    params, grad = named_leaves(params), named_leaves(clip_gradients(grad))
    rms, factored = named_leaves(rms), [named_leaves(x) for x in (v.v_row, v.v_col, v.v_diag)]
    columns = {}
    for path, momenta in named_leaves(m).items():
        p = params[path]
        leaf = FactoredLeaf(*(part[path] for part in factored))
        blocks, scales = leaf_columns(widen(p), grad[path], momenta, rms[path], leaf)
        raw = stack_columns(blocks, p.shape)
        columns[path] = (raw, raw * scales)
    return columns


def _check_seen(case: GoldenCase, seen: Seen) -> None:
    check_steps(case, seen["steps"])
    if "schedule" in seen:
        _check_schedule(case, seen["schedule"])
    if "features" in seen:
        check_features(case, seen["features"])


def check_steps(case: GoldenCase, steps: Any) -> None:
    """Steps, which are much sharper than differences of parameters."""
    for path, found in named_leaves(steps).items():
        if f"step|{path}" not in case:
            continue
        for k, at in enumerate(case["params_steps"] - 1):
            tolerance = 2e-2 if case.bfloat16 else longer(case) * STEP_TOLERANCE[case.optimizer]
            error = relative_to_max(found[at], case[f"step|{path}"][k])
            assert error < tolerance, (path, at)


def _check_schedule(case: GoldenCase, schedule: Any) -> None:
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


def check_features(case: GoldenCase, features: dict[str, Any]) -> None:
    """Columns of the last update, raw and normalised."""
    raw_tolerance, norm_tolerance = (2e-2, 2e-2) if case.bfloat16 else (5e-6, 3e-5)
    for path, pair in features.items():
        golden = case[f"feat_raw|{path}"]
        raw, normalised = (np.asarray(x[-1]).reshape(golden.shape) for x in pair)
        for k in range(golden.shape[-1]):
            assert relative_to_max(raw[..., k], golden[..., k]) < raw_tolerance, (path, k)
        error = np.abs(normalised - case[f"feat_norm|{path}"])
        assert np.max(error, initial=0.0) < norm_tolerance, path


def _check_schedules(case: GoldenCase) -> None:
    """Values of the schedules of learning rates at the steps of the file."""
    for name in dict.fromkeys(key.split("|")[0] for key in case.arrays if "|" in key):
        values = case.flat(name)
        args = [float(x) for x in values.get("args", ())]
        if name.startswith("cosine"):
            schedule = Cosine(*args)
        elif name == "rampup_sqrt":
            schedule = LinearRampupSqrtDecay(*args)
        elif name == "expdecay":
            schedule = ExponentialDecay(*args)
        else:
            assert name in ("piecewise", "piecewise_fn"), f"no schedule is called {name}"
            knots = case.flat("piecewise")
            schedule = PiecewiseLinear(tuple(knots["times"]), tuple(knots["vals"]))
        length = values.get("max_steps")
        steps = values.get("steps", case["steps"])
        found = jax.vmap(lambda step, s=schedule, n=length: s(step, n))(steps)
        np.testing.assert_allclose(found, values["values"], rtol=2e-5, atol=1e-9, err_msg=name)


def whole_file(case: GoldenCase) -> Callable[[GoldenCase], None] | None:
    """The check of a file that is no run of one optimizer, or None."""
    if case.optimizer == "schedules":
        return _check_schedules
    return check_optax_file if case.case.startswith("optax") else None
