"""Newton-Schulz iteration: a matrix on its way to the nearest one with equal singular values."""

from __future__ import annotations

import jax
import jax.numpy as jnp

MUON_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Chosen for speed, not for a limit: after five iterations singular values lie around one."""


def newton_schulz(
    x: jax.Array,
    *,
    coefficients: tuple[float, float, float] = MUON_COEFFICIENTS,
    iterations: int = 5,
    eps: float | jax.Array = 1e-8,
) -> jax.Array:
    """Brings the singular values of every matrix near one and keeps the singular vectors.

    X = x / (Frobenius norm + eps), then repeatedly A = X X^T, X <- a X + (b A + c A A) X (Jordan et
    al. 2024, Muon). Matrix products are true float32 on every platform: small singular values grow
    several hundredfold, and so would the rounding of shorter formats.

    Args:
      x: rank >= 2; the last two axes are the matrix, the others a batch. float32 or wider.
      coefficients: a, b, c of the odd polynomial applied to the singular values.
      iterations: how often it is applied.
      eps: added to the norm, so that a matrix of zeros stays zero.

    Returns:
      An array like `x`.
    """
    a, b, c = coefficients
    rows, columns = x.shape[-2:]
    tall = rows > columns
    # A is rows x rows: the shorter side costs less, in time and in memory.
    x = jnp.swapaxes(x, -1, -2) if tall else x
    x = x / (jnp.sqrt(jnp.sum(jnp.square(x), axis=(-2, -1), keepdims=True)) + eps)
    for _ in range(iterations):
        gram = _product(x, jnp.swapaxes(x, -1, -2))
        x = a * x + _product(b * gram + _product(c * gram, gram), x)
    return jnp.swapaxes(x, -1, -2) if tall else x


def _product(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.matmul(x, y, precision=jax.lax.Precision.HIGHEST)
