"""Evolution strategies on windows of an unroll, without memory: biased, and of low variance."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from celo.estimators.antithetic import (
    Sigma,
    init_particles,
    masked_means,
    perturbations,
    run_window,
    sigma_at,
    twice,
    weighted_mean,
)
from celo.estimators.protocol import Estimate, Problem
from celo.protocol import PRNGKey, PyTree


@dataclass(frozen=True)
class TruncatedES:
    """Truncated ES: ignores how theta made the state at which a window starts.

    Its state is that of the particles; both signs start from what the positive one has reached.

    Attributes:
      trunc: steps of a window.
      sigma: standard deviation of perturbations, or a schedule of it.
      sign: None, or replace each difference by this times its sign.
    """

    trunc: int = 50
    sigma: Sigma = 0.01
    sign: float | None = None

    def init(self, problem: Problem, theta: PyTree, key: PRNGKey) -> PyTree:
        return init_particles(problem, theta, key)

    def estimate(
        self, problem: Problem, theta: PyTree, state: PyTree, key: PRNGKey, iteration: jax.Array
    ) -> tuple[Estimate, PyTree]:
        eps_key, window_key = jax.random.split(key)
        sigma = sigma_at(self.sigma, iteration)
        eps = perturbations(eps_key, theta, problem.particles, sigma)
        pairs = jax.vmap(twice)(state)
        states, out = run_window(problem, theta, eps, pairs, window_key, self.trunc)
        mask = out.mask[..., 0]
        gradient, deltas = es_gradient(out.loss, mask, eps, sigma, sign=self.sign)
        losses = jnp.mean(masked_means(out.loss, mask), axis=-1)
        found = Estimate(gradient, losses, jnp.mean(jnp.abs(deltas)))
        return found, jax.tree.map(lambda x: x[:, 0], states)

    def inner_steps(self, problem: Problem) -> int:
        return 2 * problem.particles * self.trunc


def es_gradient(
    losses: jax.Array,
    mask: jax.Array,
    eps: PyTree,
    sigma: float | jax.Array,
    *,
    sign: float | None = None,
) -> tuple[PyTree, jax.Array]:
    """The antithetic estimate from the losses of a window.

    Args:
      losses: float32 [particles, steps, 2 signs].
      mask: bool [particles, steps]: which steps count.
      eps: perturbations, leading axis of particles.
      sigma: their standard deviation.
      sign: see `TruncatedES`.

    Returns:
      The gradient, and the mean differences of the two signs, [particles].
    """
    # Differences first: those of the means would lose most of their digits.
    apart = losses[..., :1] - losses[..., 1:]
    deltas = masked_means(apart, mask)[:, 0]
    used = deltas if sign is None else sign * jnp.sign(deltas)
    scale = 1.0 / (2.0 * jnp.square(sigma))
    return jax.tree.map(lambda x: scale * x, weighted_mean(used, eps)), deltas


def build(**settings: object) -> TruncatedES:
    """The estimator of a record."""
    return TruncatedES(**settings)  # pyright: ignore[reportArgumentType]
