"""Antithetic pairs: perturbations of theta, windows run at both signs, weighted sums of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from celo.estimators.protocol import Problem, StepOutput
from celo.protocol import PRNGKey, PyTree

Sigma = float | Callable[[jax.Array], jax.Array]
"""Standard deviation of perturbations, or a schedule of it: outer steps done -> value."""


def sigma_at(sigma: Sigma, iteration: jax.Array) -> jax.Array:
    """The standard deviation in force after so many outer steps, float32 ()."""
    return jnp.asarray(sigma(iteration) if callable(sigma) else sigma, jnp.float32)


def perturbations(key: PRNGKey, theta: PyTree, particles: int, sigma: float | jax.Array) -> PyTree:
    """Normal perturbations of every leaf, with a leading axis of particles.

    One key a particle, of that one key a leaf in flattening order.
    """
    leaves, structure = jax.tree.flatten(theta)

    def one(key: PRNGKey) -> PyTree:
        keys = jax.random.split(key, len(leaves))
        return structure.unflatten(
            [
                jax.random.normal(k, jnp.shape(x), jnp.float32) * sigma
                for k, x in zip(keys, leaves, strict=True)
            ]
        )

    return jax.vmap(one)(jax.random.split(key, particles))


def both_signs(theta: PyTree, eps: PyTree) -> PyTree:
    """theta + eps and theta - eps on a new leading axis of two."""
    return jax.tree.map(lambda t, e: jnp.stack([t + e, t - e]), theta, eps)


def twice(tree: PyTree) -> PyTree:
    """The same state for both signs, on a new leading axis."""
    return jax.tree.map(lambda x: jnp.stack([x, x]), tree)


def init_particles(problem: Problem, theta: PyTree, key: PRNGKey) -> PyTree:
    """States of all particles at the same theta, leading axis of particles."""
    keys = jax.random.split(key, problem.particles)
    numbers = jnp.arange(problem.particles, dtype=jnp.int32)
    return jax.vmap(problem.init, in_axes=(None, 0, 0))(theta, keys, numbers)


def run_window(
    problem: Problem, theta: PyTree, eps: PyTree, states: PyTree, key: PRNGKey, steps: int
) -> tuple[PyTree, StepOutput]:
    """Runs the pairs of all particles through a window.

    Args:
      problem: what to run.
      theta: unperturbed.
      eps: perturbations, leading axis of particles.
      states: leading axes [particles, 2 signs].
      key: of the window.
      steps: its length.

    Returns:
      The new states, and outputs [particles, steps, 2 signs].
    """

    def pair(eps: PyTree, states: PyTree, key: PRNGKey, number: jax.Array) -> Any:
        thetas = both_signs(theta, eps)
        draws = problem.draw(key, number, steps)

        def step(states: PyTree, inputs: PyTree) -> tuple[PyTree, StepOutput]:
            one = jax.vmap(problem.step, in_axes=(0, 0, None, None))
            return one(thetas, states, draws.constants, inputs)

        return jax.lax.scan(step, states, draws.steps, length=steps)

    keys = jax.random.split(key, problem.particles)
    numbers = jnp.arange(problem.particles, dtype=jnp.int32)
    return jax.vmap(pair)(eps, states, keys, numbers)


def weighted_mean(weights: jax.Array, trees: PyTree) -> PyTree:
    """Mean over particles of weight times tree; leaves [particles, ...]."""

    # Elementwise, not a matrix product: no platform rounds it to fewer bits.
    def mean(x: jax.Array) -> jax.Array:
        return jnp.mean(weights.reshape((-1,) + (1,) * (x.ndim - 1)) * x, axis=0)

    return jax.tree.map(mean, trees)


def masked_means(losses: jax.Array, mask: jax.Array) -> jax.Array:
    """Means over the steps that count: losses [..., steps, k], mask [..., steps]."""
    kept = jnp.where(mask[..., None], losses, 0.0 * losses)
    return jnp.sum(kept, axis=-2) / jnp.sum(mask, axis=-1, dtype=jnp.float32)[..., None]
