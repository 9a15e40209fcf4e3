"""Persistent evolution strategies: windows of an unroll, unbiased through an accumulator.

Vicol, Metz, Sohl-Dickstein 2021 (arXiv:2112.13835). An accumulator holds the sum of all
perturbations that a particle's unroll has seen, so that a loss is credited to perturbations of
earlier windows as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

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
from celo.protocol import PRNGKey, PyTree, state_record


@state_record
class PESState:
    """State between windows.

    Attributes:
      states: of the pairs, leading axes [particles, 2 signs].
      accumulator: tree like theta, leading axis of particles: the perturbations which the unroll
        of a particle has seen, times the ratio of the variance now to the variance then.
      sigma: float32 (), of the last window.
    """

    states: PyTree
    accumulator: PyTree
    sigma: jax.Array


class Reduction(NamedTuple):
    """Result of a window.

    Attributes:
      gradient: tree like theta.
      accumulator: for the next window.
      losses: float32 (particles,).
      deltas: float32 (particles,), mean difference of the two signs.
    """

    gradient: PyTree
    accumulator: PyTree
    losses: jax.Array
    deltas: jax.Array


@dataclass(frozen=True)
class TruncatedPES:
    """Truncated PES.

    Attributes:
      trunc: steps of a window; one estimate advances every particle by so many.
      sigma: standard deviation of perturbations, or a schedule of it.
      sign: None, or replace the differences of a window by this times the sign of their mean.
      published: credit the loss of the last step of an unroll to the perturbation of the current
        window alone, as the published code does; this biases the window in which an unroll ends.
    """

    trunc: int = 50
    sigma: Sigma = 0.01
    sign: float | None = None
    published: bool = False

    def init(self, problem: Problem, theta: PyTree, key: PRNGKey) -> PESState:
        states = jax.vmap(twice)(init_particles(problem, theta, key))
        zeros = jax.tree.map(
            lambda x: jnp.zeros((problem.particles, *jnp.shape(x)), jnp.float32), theta
        )
        return PESState(states, zeros, sigma_at(self.sigma, jnp.int32(0)))

    def estimate(
        self, problem: Problem, theta: PyTree, state: PESState, key: PRNGKey, iteration: jax.Array
    ) -> tuple[Estimate, PESState]:
        eps_key, window_key = jax.random.split(key)
        sigma = sigma_at(self.sigma, iteration)
        eps = perturbations(eps_key, theta, problem.particles, sigma)
        states, out = run_window(problem, theta, eps, state.states, window_key, self.trunc)
        # A perturbation weighs by 1 / variance of its own window: exact under a schedule, too.
        accumulator = state.accumulator
        if callable(self.sigma):
            factor = jnp.square(sigma / state.sigma)
            accumulator = jax.tree.map(lambda x: factor * x, accumulator)
        # Both signs end their unrolls together.
        found = reduce_window(
            out.loss,
            out.mask[..., 0],
            out.done[..., 0],
            eps,
            accumulator,
            sigma,
            sign=self.sign,
            published=self.published,
        )
        estimate = Estimate(found.gradient, found.losses, jnp.mean(jnp.abs(found.deltas)))
        return estimate, PESState(states, found.accumulator, sigma)

    def inner_steps(self, problem: Problem) -> int:
        return 2 * problem.particles * self.trunc


def reduce_window(
    losses: jax.Array,
    mask: jax.Array,
    done: jax.Array,
    eps: PyTree,
    accumulator: PyTree,
    sigma: float | jax.Array,
    *,
    sign: float | None = None,
    published: bool = False,
) -> Reduction:
    """The PES estimate of a window from its losses.

    A loss after the end of an unroll is credited to this window's perturbation alone, an earlier
    one to the accumulated perturbations. Every mean is over all steps that count.

    Args:
      losses: float32 [particles, steps, 2 signs].
      mask: bool [particles, steps]: which steps count.
      done: bool [particles, steps]: where unrolls end.
      eps: perturbations of this window, leading axis of particles.
      accumulator: sums of those before it, likewise.
      sigma: standard deviation of `eps`.
      sign: see `TruncatedPES`.
      published: the step that ends an unroll counts as after its end.
    """
    ended = jnp.cumsum(done, axis=1) > 0
    after = ended
    if not published:
        after = jnp.concatenate([jnp.zeros_like(ended[:, :1]), ended[:, :-1]], axis=1)
    count = jnp.sum(mask, axis=1, dtype=jnp.float32)
    delta = losses[..., 0] - losses[..., 1]
    delta = jnp.where(mask, delta, 0.0 * delta)
    mean_delta = jnp.sum(delta, axis=1) / count
    if sign is not None:
        # Of the mean over all steps, masked ones as zeros, as published; it has the same sign.
        delta = jnp.where(mask, sign * jnp.sign(mean_delta)[:, None], 0.0)
    before_sum = jnp.sum(jnp.where(after, 0.0 * delta, delta), axis=1) / count
    after_sum = jnp.sum(jnp.where(after, delta, 0.0 * delta), axis=1) / count
    accumulator = jax.tree.map(jnp.add, accumulator, eps)
    scale = 1.0 / (2.0 * jnp.square(sigma))
    gradient = jax.tree.map(
        lambda a, b: scale * (a + b),
        weighted_mean(before_sum, accumulator),
        weighted_mean(after_sum, eps),
    )
    renewed = ended[:, -1]
    accumulator = jax.tree.map(
        lambda a, e: jnp.where(renewed.reshape((-1,) + (1,) * (e.ndim - 1)), e, a), accumulator, eps
    )
    return Reduction(gradient, accumulator, jnp.mean(masked_means(losses, mask), -1), mean_delta)


def build(**settings: object) -> TruncatedPES:
    """The estimator of a record."""
    return TruncatedPES(**settings)  # pyright: ignore[reportArgumentType]
