"""Hand-crafted optimizers: what golden files do not say."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from celo import registry
from celo.errors import UsageError
from celo.loading import build_optimizer, find
from celo.optim import to_optax
from celo.optim.schedules import Cosine
from celo_plugins.nadamw import NAdamW
from celo_plugins.optlist import ENTRIES, optlist

PARAMS = {"scalar": jnp.float32(2.0), "w": jnp.asarray([[1.0, -1.0], [0.5, 2.0]])}
GRAD = {"scalar": jnp.float32(0.5), "w": jnp.asarray([[0.1, 0.2], [-0.3, 0.4]])}


def _load(text: str):
    return build_optimizer(*find(text))


def test_all_grids_have_the_same_size() -> None:
    records = [f.record for f in registry.optimizers() if f.origin.distribution == "celo"]
    grids = {r.name: r.grid for r in records if r.kind == "hand-crafted" and r.name != "optlist"}
    assert {name: len(grid.values) for name, grid in grids.items() if grid} == dict.fromkeys(
        grids, 15
    )
    for name, grid in grids.items():
        assert grid and grid.source and list(grid.values) == sorted(set(grid.values)), name


def test_sm3_gives_scalars_an_axis_in_its_state_only() -> None:
    optimizer = _load("sm3:lr=0.1")
    state = optimizer.init(PARAMS)
    assert state.params["scalar"].shape == (1,) and state.should_reshape == (True, False)
    assert jax.tree.map(jnp.shape, optimizer.get_params(state)) == {"scalar": (), "w": (2, 2)}
    moved = optimizer.set_params(optimizer.update(state, GRAD), GRAD)
    assert moved.params["scalar"].shape == (1,), "set_params must expand"
    np.testing.assert_array_equal(optimizer.get_params(moved)["scalar"], GRAD["scalar"])
    transform = to_optax(optimizer)
    updates, _ = transform.update(GRAD, transform.init(PARAMS), PARAMS)
    expected = optimizer.get_params(optimizer.update(state, GRAD))
    np.testing.assert_allclose(PARAMS["scalar"] + updates["scalar"], expected["scalar"], rtol=1e-6)


def test_prodigy_stands_still_until_there_is_a_gradient() -> None:
    optimizer = _load("prodigy")
    start = optimizer.init(PARAMS)
    still = optimizer.update(start, jax.tree.map(jnp.zeros_like, GRAD))
    np.testing.assert_array_equal(still.params["w"], PARAMS["w"])
    native = optax.contrib.prodigy(1.0)
    updates, _ = native.update(GRAD, native.init(PARAMS), PARAMS)
    expected = optax.apply_updates(PARAMS, updates)["w"]
    np.testing.assert_array_equal(optimizer.update(start, GRAD).params["w"], expected)
    broken = optimizer.update(start, {**GRAD, "scalar": jnp.float32(jnp.nan)})
    assert jnp.isnan(broken.params["scalar"]), "divergence is not hidden"


def test_schedule_free_trains_and_is_evaluated_at_different_points() -> None:
    optimizer = _load("schedule-free-adamw:lr=0.1")
    state = optimizer.init(PARAMS)
    for _ in range(3):
        state = optimizer.update(state, GRAD)
    inner, b1 = state.optax_opt_state, 0.9
    average = optimizer.get_eval_params(state)["w"]
    trained = b1 * average + (1 - b1) * inner.z["w"]
    np.testing.assert_allclose(optimizer.get_params(state)["w"], trained, rtol=1e-5)
    assert np.max(np.abs(average - trained)) > 1e-3
    with pytest.raises(UsageError, match="a schedule of its own"):
        _load("schedule-free-adamw:schedule=cosine,warmup_steps=5").init(PARAMS, num_steps=9)


def test_nadamw_takes_traced_hyperparameters_booleans_included() -> None:
    def step(nesterov):
        optimizer = NAdamW(Cosine(0.1), use_nesterov=nesterov)
        state = optimizer.init(PARAMS, num_steps=4)
        return optimizer.update(optimizer.update(state, GRAD), GRAD).params["w"]

    found = jax.jit(jax.vmap(step))(jnp.asarray([False, True]))
    np.testing.assert_allclose(found[0], step(False), rtol=1e-6)
    np.testing.assert_allclose(found[1], step(True), rtol=1e-6)
    assert np.max(np.abs(found[0] - found[1])) > 1e-3
    with pytest.raises(UsageError, match="num_steps is None"):
        _load("nadamw").init(PARAMS)


def test_a_place_in_the_list_may_be_traced_and_must_be_in_it() -> None:
    def step(idx):
        optimizer = optlist(idx)
        return optimizer.update(optimizer.init(PARAMS, num_steps=4), GRAD).params["w"]

    found = jax.jit(jax.vmap(step))(jnp.arange(len(ENTRIES)))
    for idx in (0, 3, 9):
        np.testing.assert_allclose(found[idx], step(idx), rtol=1e-6)
    assert len({row.tobytes() for row in np.asarray(found)}) > 5
    assert _load("optlist:idx=3").name == "OptList3"
    with pytest.raises(UsageError, match="at most 9"):
        _load("optlist:idx=10")
    with pytest.raises(UsageError, match="from 0 to 9, got -1"):
        optlist(-1)
