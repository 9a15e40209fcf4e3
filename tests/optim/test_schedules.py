"""Schedules of the learning rate: golden values, edges, and what is refused."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo.errors import UsageError
from celo.optim.schedules import (
    Constant,
    Cosine,
    ExponentialDecay,
    LinearRampupSqrtDecay,
    PiecewiseLinear,
    Schedule,
    make_schedule,
)
from celo.records import LEARNING_RATE_SCHEDULE
from tests.shared_folder import golden_files

DEFAULTS = {h.name: h.default for h in LEARNING_RATE_SCHEDULE}


def _values(schedule: Schedule, steps: Any, length: Any = None) -> np.ndarray:
    return np.asarray(jax.jit(jax.vmap(lambda step: schedule(step, length)))(jnp.asarray(steps)))


@pytest.mark.parametrize("path", golden_files("schedules__values.npz"), ids=lambda p: p.stem)
def test_golden_values(path) -> None:
    with np.load(path) as golden:
        made: dict[str, Schedule] = {
            "rampup_sqrt": LinearRampupSqrtDecay(*golden["rampup_sqrt|args"].tolist()),
            "piecewise": PiecewiseLinear(golden["piecewise|times"], golden["piecewise|vals"]),
            "expdecay": ExponentialDecay(*golden["expdecay|args"].tolist()),
        }
        made["piecewise_fn"] = made["piecewise"]
        for number in range(4):
            made[f"cosine{number}"] = Cosine(*golden[f"cosine{number}|args"].tolist())
        assert {key.split("|")[0] for key in golden} == {*made, "steps"}, "a group is not tested"
        for name, schedule in made.items():
            steps = golden.get(f"{name}|steps", golden["steps"])
            found = _values(schedule, steps, golden.get(f"{name}|max_steps"))
            expected = golden[f"{name}|values"]
            np.testing.assert_allclose(found, expected, 1e-6, 1e-6 * np.max(expected), err_msg=name)


def test_a_plain_cosine_falls_from_lr_to_nothing() -> None:
    schedule = make_schedule(0.5, {**DEFAULTS, "schedule": "cosine"})
    np.testing.assert_allclose(
        _values(schedule, [0, 50, 100, 200], 100), [0.5, 0.25, 0, 0], atol=1e-7
    )
    assert schedule.reads == ("num_steps",)
    with pytest.raises(UsageError, match="length of the run"):
        schedule(3)


def test_a_ramp_may_fill_the_run_and_nothing_is_divided_by_zero() -> None:
    assert _values(Cosine(1.0, 0.0, 1.0, 0.0), [0, 5, 10], 10).tolist() == [1.0, 1.0, 1.0]
    np.testing.assert_allclose(_values(Cosine(1.0, 0.0, 1.0, 0.1), [0, 5, 10], 10), [0, 0.5, 1])
    traced = jax.jit(lambda fraction: Cosine(1.0, 0.0, 0.0, fraction)(0, 10))
    assert (float(traced(0.0)), float(traced(0.5))) == (1.0, 0.0)


@pytest.mark.parametrize("kind", [h.choices for h in LEARNING_RATE_SCHEDULE if h.choices][0])
def test_every_schedule_is_scaled_by_a_traced_rate(kind: str) -> None:
    def at(lr: jax.Array) -> jax.Array:
        schedule = make_schedule(lr, {**DEFAULTS, "schedule": kind})
        return jnp.asarray(schedule(jnp.int32(15_000), jnp.int32(30_000)))

    found = jax.jit(jax.vmap(at))(jnp.asarray([0.1, 0.2]))
    np.testing.assert_allclose(found[1], 2 * found[0], rtol=1e-6)
    assert 0 < found[0] <= 0.1


def test_knots_are_read_from_text() -> None:
    options = {**DEFAULTS, "schedule": "piecewise-linear", "times": "4/8", "factors": "1/0.1"}
    schedule = make_schedule(0.01, options)
    np.testing.assert_allclose(
        _values(schedule, [0, 4, 6, 8, 99]), [0.01, 0.01, 0.0055, 0.001, 0.001], rtol=1e-6
    )
    assert isinstance(make_schedule(0.1, DEFAULTS), Constant)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"times": "1/2/3"}, "3 times, but 2 factors"),
        ({"times": "2/1"}, "times must increase"),
        ({"factors": "1/x"}, "factors must be numbers"),
        ({"schedule": "linear"}, "unknown schedule 'linear'"),
    ],
)
def test_what_is_no_schedule_is_refused(changes: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_schedule(0.1, {**DEFAULTS, "schedule": "piecewise-linear", **changes})
