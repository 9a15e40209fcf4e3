"""Newton-Schulz against its formula in float64, and what it promises about singular values."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo.lopt.orthogonalize import MUON_COEFFICIENTS, newton_schulz


def _random(*shape: int) -> Any:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def _plain(x: Any, coefficients: Any, iterations: int, eps: float) -> Any:
    """One matrix, singular value by singular value."""
    u, s, v = np.linalg.svd(np.asarray(x, np.float64), full_matrices=False)
    s = s / (np.linalg.norm(s) + eps)
    a, b, c = coefficients
    for _ in range(iterations):
        s = a * s + b * s**3 + c * s**5
    return (u * s) @ v


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (1, 5), (5, 5), (2, 3, 5, 4)], ids=str)
def test_it_is_the_polynomial_of_singular_values(shape: tuple[int, ...]) -> None:
    x = 30 * _random(*shape)
    found = np.asarray(jax.jit(newton_schulz)(x))
    for index in np.ndindex(shape[:-2]):
        expected = _plain(x[index], MUON_COEFFICIENTS, 5, 1e-8)
        np.testing.assert_allclose(found[index], expected, atol=2e-5)


def test_settings_are_used() -> None:
    x = 0.1 * _random(3, 4)
    found = newton_schulz(x, coefficients=(1.5, -0.5, 0.1), iterations=2, eps=0.3)
    np.testing.assert_allclose(found, _plain(x, (1.5, -0.5, 0.1), 2, 0.3), atol=1e-6)


def test_singular_values_end_near_one_and_zero_stays_zero() -> None:
    u, v = np.linalg.qr(_random(6, 6))[0], np.linalg.qr(_random(9, 9))[0]
    x = (u * np.geomspace(0.02, 1.0, 6)) @ v[:6]
    values = np.linalg.svd(newton_schulz(jnp.asarray(x, jnp.float32)), compute_uv=False)
    assert 0.6 < values.min() and values.max() < 1.25
    assert not np.any(newton_schulz(jnp.zeros((3, 2))))
    assert newton_schulz(jnp.zeros((4, 0, 3))).shape == (4, 0, 3)


@pytest.mark.parametrize("shape", [(2, 300, 4), (2, 4, 300)], ids=str)
def test_products_are_true_float32_and_as_small_as_the_shorter_side(
    shape: tuple[int, ...],
) -> None:
    text = jax.jit(newton_schulz).lower(jnp.zeros(shape)).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert len(products) == 15
    assert all("precision = [HIGHEST, HIGHEST]" in line for line in products)
    assert "300x300" not in text
