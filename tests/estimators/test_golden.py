"""Estimators against the golden figures of the public implementation and exact gradients."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo.estimators import FullES, TruncatedES, TruncatedPES, perturbations
from celo.estimators.antithetic import masked_means
from celo.estimators.full_es import full_es_gradient
from celo.estimators.truncated_es import es_gradient
from celo.estimators.truncated_pes import reduce_window
from tests.estimators.toy_problems import InfluenceBalancing, LearnedRate
from tests.shared_folder import golden_dir

SIGMA = 0.01


@cache
def golden() -> dict[str, np.ndarray]:
    with np.load(golden_dir() / "pes__toy.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def tree(prefix: str) -> dict[str, Any]:
    return {name: golden()[f"{prefix}_{name}"] for name in "ab"}


def close(found: Any, wanted: Any, rtol: float = 1e-5) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-9), found, wanted)


def window_losses() -> jax.Array:
    both = np.stack([golden()["F1_pos_loss"], golden()["F1_neg_loss"]], axis=-1)
    return jnp.asarray(both.transpose(1, 0, 2))


def reduced(losses: jax.Array, **settings: Any) -> Any:
    return reduce_window(
        losses,
        jnp.asarray(golden()["F1_mask"].T),
        jnp.asarray(golden()["F1_done"].T),
        tree("F1_eps"),
        tree("F1_accin"),
        SIGMA,
        **settings,
    )


@pytest.mark.parametrize(("name", "sign"), [("F1", None), ("F1_sign", 1.0)])
def test_golden_reduction_of_a_window(name: str, sign: float | None) -> None:
    found = reduced(window_losses(), sign=sign, published=True)
    close(found.gradient, tree(f"{name}_grad"))
    close(found.accumulator, tree(f"{name}_acc"))
    close(jnp.mean(found.losses), golden()[f"{name}_loss"])
    # The default differs where an unroll ends, and there alone.
    other = reduced(window_losses(), sign=sign).gradient
    assert not np.allclose(other["a"], found.gradient["a"], rtol=1e-2)


def test_golden_reduction_lets_nan_through() -> None:
    found = reduced(window_losses().at[1, 2, 0].set(jnp.nan), published=True)
    assert all(np.isnan(x).all() for x in jax.tree.leaves(found.gradient))
    assert np.isnan(jnp.mean(found.losses))


def test_golden_reduction_of_truncated_es() -> None:
    losses, mask = window_losses(), jnp.asarray(golden()["F1_mask"].T)
    gradient, _ = es_gradient(losses, mask, tree("F1_eps"), SIGMA)
    # The figure is a difference of float32 means, which costs it digits that ours keeps.
    close(gradient, tree("F1_tes_grad"), rtol=5e-4)
    pos, neg, counts = (golden()[f"F1_{n}"].astype(float) for n in ("pos_loss", "neg_loss", "mask"))
    deltas = ((pos - neg) * counts).sum(0) / counts.sum(0)
    exact = (deltas[:, None] * golden()["F1_eps_a"].astype(float)).mean(0) / (2 * SIGMA**2)
    np.testing.assert_allclose(gradient["a"], exact, rtol=1e-5)
    close(jnp.mean(masked_means(losses, mask)), golden()["F1_tes_loss"])


@pytest.mark.parametrize("name", ["plain", "sign", "clip"])
def test_golden_reduction_of_full_es(name: str) -> None:
    losses = jnp.stack([golden()["F2_pos"], golden()["F2_neg"]], axis=-1)
    settings: dict[str, Any] = {"sign": {"sign": 1.0}, "clip": {"clip": 0.2}}.get(name, {})
    gradient, deltas = full_es_gradient(losses, golden()["F2_eps"], SIGMA, **settings)
    close(gradient, golden()[f"F2_{name}_grad"])
    assert np.isfinite(deltas).all()
    assert np.isnan(jnp.mean(losses)) and np.isnan(golden()[f"F2_{name}_loss"])


def test_golden_perturbations() -> None:
    theta = {"a": jnp.zeros(3), "b": jnp.zeros((2, 2))}
    found = perturbations(jax.random.PRNGKey(7), theta, 2, SIGMA)
    close(found, tree("F6_eps"), rtol=1e-6)


def window_means(
    estimator: Any, problem: Any, theta: float, windows: int, calls: int
) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard errors over calls, window by window."""

    def call(key: jax.Array) -> jax.Array:
        start, *keys = jax.random.split(key, windows + 1)
        state = estimator.init(problem, jnp.float32(theta), start)

        def window(state: Any, key: jax.Array) -> Any:
            found, state = estimator.estimate(problem, jnp.float32(theta), state, key, jnp.int32(0))
            return state, found.gradient

        return jax.lax.scan(window, state, jnp.stack(keys))[1]

    keys = jax.random.split(jax.random.PRNGKey(1), calls)
    values = np.asarray(jax.jit(lambda keys: jax.lax.map(call, keys))(keys), np.float64)
    return values.mean(0), values.std(0, ddof=1) / np.sqrt(calls)


def influence(particles: int) -> InfluenceBalancing:
    return InfluenceBalancing(golden()["A_matrix"], golden()["A_sign"], particles)


def learned_rate(particles: int) -> LearnedRate:
    return LearnedRate(golden()["B_hessian"], golden()["B_w0"], particles)


def test_golden_influence_balancing() -> None:
    """PES is unbiased over two unrolls; truncated ES has the wrong sign."""
    exact, truncated = golden()["A_exact_full"], golden()["A_exact_trunc"]
    mean, error = window_means(TruncatedPES(10, SIGMA), influence(400), 0.5, 20, 25)
    assert (np.abs(mean - np.tile(exact, 2)) < 4 * error).all()
    assert (mean[4:10] > 0).all()
    mean, error = window_means(TruncatedES(10, SIGMA), influence(400), 0.5, 10, 25)
    assert (np.abs(mean - truncated) < 4 * error).all()
    assert (mean[4:10] < 0).all() and (np.abs(mean - exact)[1:] > 20 * error[1:]).all()


@pytest.mark.parametrize(("published", "name"), [(False, "ideal"), (True, "ref")])
def test_golden_learned_rate(published: bool, name: str) -> None:
    """The two credit assignments differ in the window that ends an unroll, by many errors."""
    wanted = golden()[f"B_exact_{name}"]
    other = golden()["B_exact_ref" if name == "ideal" else "B_exact_ideal"]
    estimator = TruncatedPES(10, SIGMA, published=published)
    theta = float(golden()["B_log_lr"])
    mean, error = window_means(estimator, learned_rate(1000), theta, 6, 60)
    assert (np.abs(mean - np.tile(wanted, 2)) < 4 * error).all()
    assert abs(mean[2] - other[2]) > 6 * error[2]


def test_golden_learned_rate_truncated_es() -> None:
    theta = float(golden()["B_log_lr"])
    mean, error = window_means(TruncatedES(10, SIGMA), learned_rate(1000), theta, 6, 40)
    assert (np.abs(mean - np.tile(golden()["B_exact_trunc"], 2)) < 4 * error).all()


@pytest.mark.parametrize("objective", ["avg", "last", "min", "last_recompute"])
def test_golden_full_es(objective: Any) -> None:
    """A constant length of 29 is rounded down to 25."""
    estimator = FullES(objective, SIGMA, sign=None, recompute_samples=2, chunk=5)
    theta = float(golden()["B_log_lr"])
    mean, error = window_means(estimator, learned_rate(1000), theta, 1, 25)
    exact = golden()[f"B_fes_exact_{'last' if objective == 'min' else objective}"]
    assert abs(mean[0] - exact) < 4 * error[0]
    problem = learned_rate(1000)
    found, _ = jax.jit(lambda key: estimator.estimate(problem, theta, (), key, jnp.int32(0)))(
        jax.random.PRNGKey(0)
    )
    close(jnp.mean(found.losses), golden()[f"B_fes_{objective}_loss"], rtol=2e-3)


def test_golden_closed_loop() -> None:
    """Descending the estimates ends near the minimum with PES, at a false one without."""

    def descend(estimator: Any, steps: int = 2000) -> float:
        problem = influence(100)
        state = estimator.init(problem, jnp.float32(0.5), jax.random.PRNGKey(0))

        def step(carry: Any, key: jax.Array) -> Any:
            theta, state = carry
            found, state = estimator.estimate(problem, theta, state, key, jnp.int32(0))
            return (theta - 2e-5 * found.gradient, state), None

        keys = jax.random.split(jax.random.PRNGKey(1), steps)
        loop = jax.jit(lambda carry, keys: jax.lax.scan(step, carry, keys)[0][0])
        return float(loop((jnp.float32(0.5), state), keys))

    wanted_pes = golden()["A_loop_pes_traj"][:, -1]
    wanted_es = golden()["A_loop_tes_traj"][:, -1]
    assert abs(descend(TruncatedPES(10, SIGMA)) - wanted_pes.mean()) < 0.02
    assert abs(descend(TruncatedES(10, SIGMA)) - wanted_es.mean()) < 0.02
