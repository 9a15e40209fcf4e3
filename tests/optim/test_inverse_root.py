"""Roots in float32 against eigendecompositions in float64."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo.optim.inverse_root import InverseRoot, inverse_root, largest_eigenvalue
from celo.testing.compiling import compiled

SIZE = 6


def _matrices(*spectra: Any) -> np.ndarray:
    """Symmetric matrices with these eigenvalues and random eigenvectors, float64."""
    random = np.random.default_rng(0)
    bases = [np.linalg.qr(random.standard_normal((SIZE, SIZE)))[0] for _ in spectra]
    return np.stack([(q * np.asarray(w)) @ q.T for q, w in zip(bases, spectra, strict=True)])


BENIGN = np.linspace(1, 3, SIZE)
ILL = np.logspace(-4, 0, SIZE)
SPECTRA = [BENIGN, ILL, 1e-9 * ILL, 1e12 * ILL, np.zeros(SIZE)]


def _exact(matrices: np.ndarray, p: int, ridge: float, floor: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrices)
    shift = ridge * np.maximum(values[:, -1:], floor)
    powers = (np.maximum(values, 0) + shift) ** (-1 / p)
    return (vectors * powers[:, None, :]) @ vectors.mT


def _relative(found: Any, exact: np.ndarray) -> np.ndarray:
    error = np.max(np.abs(np.asarray(found, np.float64) - exact), axis=(1, 2))
    return error / np.max(np.abs(exact), axis=(1, 2))


@functools.cache
def _compiled(p: int) -> Callable[..., InverseRoot]:
    return compiled(lambda m, ridge, floor: inverse_root(m, p, ridge, floor))


@pytest.mark.parametrize("p", [2, 3, 8])
def test_roots_of_any_scale_and_condition(p: int) -> None:
    matrices = _matrices(*SPECTRA)
    found = _compiled(p)(jnp.asarray(matrices, jnp.float32), 1e-6, 1e-6)
    errors = _relative(found.root, _exact(matrices, p, 1e-6, 1e-6))
    assert errors[0] < 1e-5 and np.all(errors < 2e-3), errors
    assert np.all(found.residual < 1e-3)


def test_the_ridge_carries_the_directions_without_any_moment() -> None:
    # Rank one: the noise of float32 is a tenth of the ridge, of which the root takes the square.
    matrices = _matrices([0, 0, 0, 0, 0, 4.0], [0, 0, 0, 0, 0, 4.0])
    found = _compiled(2)(jnp.asarray(matrices, jnp.float32), 1e-6, 1e-6)
    assert np.all(_relative(found.root, _exact(matrices, 2, 1e-6, 1e-6)) < 0.2)
    strong = _compiled(2)(jnp.asarray(matrices, jnp.float32), 1e-3, 1e-6)
    assert np.all(_relative(strong.root, _exact(matrices, 2, 1e-3, 1e-6)) < 1e-3)


def test_a_broken_matrix_is_reported_and_harms_no_other() -> None:
    matrices = jnp.asarray(_matrices(*SPECTRA), jnp.float32)
    found = _compiled(2)(matrices.at[1, 2, 2].set(jnp.nan), 1e-6, 1e-6)
    alone = _compiled(2)(matrices, 1e-6, 1e-6)
    assert np.array_equal(np.isnan(found.residual), [False, True, False, False, False])
    assert np.all(_relative(found.root, np.asarray(alone.root, np.float64))[[0, 2, 3, 4]] < 1e-3)


def test_newton_reports_what_it_cannot_finish_and_leaves_it_alone() -> None:
    matrices = jnp.asarray(_matrices([-2.0, 1, 1, 1, 1, 3], BENIGN, ILL), jnp.float32)
    root, residual = _compiled(2)(matrices, 1e-6, 1e-6)
    assert residual[0] > 0.1 and np.all(residual[1:] < 1e-3)
    # The third goes on for long.
    assert np.max(np.abs(root[0])) < 10


def test_largest_eigenvalue() -> None:
    matrices = _matrices(ILL, BENIGN, np.zeros(SIZE))
    found = largest_eigenvalue(jnp.asarray(matrices, jnp.float32))
    np.testing.assert_allclose(found, [1, 3, 0], rtol=1e-4)


def test_largest_eigenvalue_is_found_behind_a_constant_null_vector() -> None:
    centred = jnp.asarray([[[1.0, -1.0], [-1.0, 1.0]]])
    np.testing.assert_allclose(largest_eigenvalue(centred), [2.0], rtol=1e-4)


def test_a_batch_is_one_operation_under_vmap_too() -> None:
    matrices = jnp.asarray(_matrices(*SPECTRA), jnp.float32)
    root = lambda m, ridge: inverse_root(m, 2, ridge)  # noqa: E731
    stacked, ridges = jnp.stack([matrices, 2 * matrices]), jnp.asarray([1e-6, 1e-3])
    both = compiled(jax.vmap(root)).lower(stacked, ridges).compile()
    found = both(stacked, ridges).root
    for i in range(2):
        exact = _exact(np.asarray(stacked[i], np.float64), 2, float(ridges[i]), 1e-6)
        assert np.all(_relative(found[i], exact) < 2e-3)
    assert both.as_text().count(" while(") == 2
