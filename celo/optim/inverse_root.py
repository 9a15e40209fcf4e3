"""Inverse p-th roots of many positive semi-definite matrices at once, in float32.

A coupled Newton iteration (Guo & Higham 2006, A Schur-Newton method for the matrix p-th root and
its inverse; used for Shampoo by Anil et al. 2020, arXiv:2002.09018): batched matrix products only.
Not an eigendecomposition, although that is faster on a CPU: a training loop with several batched
ones in its program once stopped for good there (jaxlib 0.10, cause unknown), and it loses more
digits in directions of small eigenvalues.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_ITERATIONS = 100
_TOLERANCE = 1e-6
# Rounding may hide progress while a small eigenvalue is still on its way to 1.
_LARGEST_GROWTH = 1.2
# Below this error every iteration squares it, until rounding stops that.
_QUADRATIC = 0.1
# Scaling ends when all eigenvalues are known to lie this near 1, and sends none far below 1: the
# digits of one that is sent far below the others would be lost.
_NEAR_ONE = 0.9
_LEAST_IMAGE = 0.1
# Keeps squares of the entries inside float32.
_SMALLEST_SCALE = 1e-15


class InverseRoot(NamedTuple):
    """Roots of a batch and how far to trust them.

    Attributes:
      root: float32 [n, b, b].
      residual: float32 [n], Frobenius norm of I - X^p A as the iteration tracks it; NaN for a
        matrix with entries that are not finite.
    """

    root: jax.Array
    residual: jax.Array


class _Newton(NamedTuple):
    iteration: jax.Array
    product: jax.Array  # X^p A, on its way to the identity
    root: jax.Array  # X
    error: jax.Array
    active: jax.Array
    smallest: jax.Array  # no eigenvalue of the product is smaller


@functools.partial(jax.jit, static_argnames="p")
def inverse_root(
    matrices: jax.Array,
    p: int,
    ridge: float | jax.Array = 1e-6,
    floor: float | jax.Array = 1e-6,
    least: float | jax.Array = 0.0,
) -> InverseRoot:
    """(A + r I)^(-1/p) with r = ridge * max(largest eigenvalue of A, floor).

    Eigenvalues below about 1e-7 times the largest are rounding noise in float32; `ridge` keeps them
    out of the root.

    Args:
      matrices: [n, b, b], symmetric and positive semi-definite; one loop for all of them.
      p: positive integer, static.
      ridge: relative to the largest eigenvalue.
      floor: smallest value that counts as largest eigenvalue.
      least: no eigenvalue of A is smaller, as far as is known; the larger, the fewer iterations.
    """
    matrices = matrices.astype(jnp.float32)
    identity = jnp.eye(matrices.shape[-1], dtype=jnp.float32)
    scale = jnp.maximum(jnp.max(jnp.abs(matrices), axis=(-2, -1)), _SMALLEST_SCALE)
    scaled = matrices / scale[:, None, None]
    largest = largest_eigenvalue(scaled)
    shift = ridge * jnp.maximum(largest, floor / scale)
    # The estimate of the largest eigenvalue may be half of it: what leaves (0, p + 1) goes astray.
    factor = 0.5 / (largest + shift)
    product = factor[:, None, None] * (scaled + shift[:, None, None] * identity)
    root = ((factor / scale) ** (1 / p))[:, None, None] * identity
    error = jnp.linalg.norm(product - identity, axis=(-2, -1))
    # Bounds that rounding makes a little too large cost an iteration more, no accuracy.
    smallest = factor * jnp.minimum(least / scale + shift, largest + shift)
    first = _Newton(jnp.zeros((), jnp.int32), product, root, error, error > _TOLERANCE, smallest)

    def unfinished(carry: _Newton) -> jax.Array:
        return (carry.iteration < _ITERATIONS) & jnp.any(carry.active)

    def body(carry: _Newton) -> _Newton:
        scaling = carry.smallest < _NEAR_ONE
        grown = jnp.where(scaling, _scaling(carry.smallest, p), 1.0)
        product = grown[:, None, None] * carry.product
        step = ((p + 1) * identity - product) / p
        product = multiply(_power(step, p), product)
        root = multiply(carry.root, (grown ** (1 / p))[:, None, None] * step)
        error = jnp.linalg.norm(product - identity, axis=(-2, -1))
        # While it scales, eigenvalues near 1 move away from it, but stay in (0, 1].
        before = jnp.where(scaling, identity.shape[0] ** 0.5, carry.error)
        good = carry.active & (error < _LARGEST_GROWTH * before)
        goes_on = scaling | (error > _QUADRATIC) | (error < carry.error / 2)
        take = good[:, None, None]
        return _Newton(
            carry.iteration + 1,
            jnp.where(take, product, carry.product),
            jnp.where(take, root, carry.root),
            jnp.where(good, error, carry.error),
            good & goes_on & (error > _TOLERANCE),
            jnp.where(scaling, _newton_map(grown * carry.smallest, p), carry.smallest),
        )

    last = jax.lax.while_loop(unfinished, body, first)
    return InverseRoot(last.root, last.error)


def _newton_map(eigenvalue: jax.Array, p: int) -> jax.Array:
    """What an iteration makes of an eigenvalue of the product; (0, p + 1) is sent into (0, 1]."""
    return eigenvalue * ((p + 1 - eigenvalue) / p) ** p


def _scaling(smallest: jax.Array, p: int) -> jax.Array:
    """The factor c of the product with which the next iteration gains most.

    With eigenvalues in [l, 1] its images are in [min(f(c l), f(c)), 1], f being `_newton_map`; the
    two are equal at c = (p + 1) / (1 + t + ... + t^p), t = l^(1/p). Small eigenvalues grow about
    fivefold that way instead of twofold.
    """
    t = smallest ** (1 / p)
    best = (p + 1) / sum(t**i for i in range(p + 1))
    return jnp.minimum(best, p + 1 - p * _LEAST_IMAGE ** (1 / p))


def largest_eigenvalue(matrices: jax.Array) -> jax.Array:
    """Largest eigenvalues [n] of positive semi-definite matrices [n, b, b], by power iteration.

    Stops after 100 products, or when no estimate of the batch changes by more than 1e-6 of itself.
    Never too large but for rounding.
    """
    count, size, _ = matrices.shape
    # Not a constant vector: gradients behind a softmax sum to zero, which would hide everything.
    start = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    start = jnp.broadcast_to(start / np.linalg.norm(start), (count, size))

    def unfinished(carry: tuple[jax.Array, ...]) -> jax.Array:
        iteration, _, _, active = carry
        return (iteration < _ITERATIONS) & jnp.any(active)

    def body(carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        iteration, vector, estimate, active = carry
        image = multiply(matrices, vector[..., None])[..., 0]
        new = jnp.where(active, jnp.sum(vector * image, axis=-1), estimate)
        length = jnp.linalg.norm(image, axis=-1, keepdims=True)
        vector = jnp.where(length > 0, image / length, vector)
        return iteration + 1, vector, new, jnp.abs(new - estimate) > _TOLERANCE * jnp.abs(new)

    zeros = jnp.zeros(count, jnp.float32)
    first = (jnp.zeros((), jnp.int32), start, zeros, jnp.ones(count, bool))
    return jax.lax.while_loop(unfinished, body, first)[2]


def multiply(left: jax.Array, right: jax.Array) -> jax.Array:
    """Batched matrix product in full float32, where the device's default would round factors."""
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)


def _power(matrices: jax.Array, exponent: int) -> jax.Array:
    """Matrix power by squaring; the exponent is static and positive."""
    if exponent == 1:
        return matrices
    half = _power(matrices, exponent // 2)
    square = multiply(half, half)
    return multiply(square, matrices) if exponent % 2 else square
