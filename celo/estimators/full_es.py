"""Evolution strategies on complete unrolls: unbiased, and an estimate costs a whole unroll."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from celo.errors import UsageError
from celo.estimators.antithetic import (
    Sigma,
    both_signs,
    perturbations,
    sigma_at,
    weighted_mean,
)
from celo.estimators.protocol import CompleteProblem, Estimate
from celo.protocol import PRNGKey, PyTree

Objective = Literal["avg", "min", "last", "last_recompute"]


@dataclass(frozen=True)
class FullES:
    """Full ES: no state; every estimate runs all particles through one unroll of one length.

    Attributes:
      objective: what of an unroll is minimised: the mean over its steps, the smallest loss, the
        last one, or the mean over fresh batches at the final parameters.
      sigma: standard deviation of perturbations, or a schedule of it.
      sign: None, or replace each difference by this times its sign.
      clip: None, or the largest absolute difference.
      recompute_samples: fresh batches of "last_recompute".
      chunk: lengths are rounded down to a multiple of this.
    """

    objective: Objective = "last_recompute"
    sigma: Sigma = 0.01
    sign: float | None = 1.0
    clip: float | None = None
    recompute_samples: int = 50
    chunk: int = 10

    def init(self, problem: CompleteProblem, theta: PyTree, key: PRNGKey) -> PyTree:
        if not hasattr(problem, "sample_length"):
            raise UsageError(
                f"full ES runs complete unrolls, which {type(problem).__name__} cannot do",
                hint="use truncated PES, or add the methods of celo.estimators.CompleteProblem",
            )
        return ()

    def estimate(
        self,
        problem: CompleteProblem,
        theta: PyTree,
        state: PyTree,
        key: PRNGKey,
        iteration: jax.Array,
    ) -> tuple[Estimate, PyTree]:
        length_key, eps_key, run_key = jax.random.split(key, 3)
        chunks = jnp.maximum(problem.sample_length(length_key) // self.chunk, 1)
        sigma = sigma_at(self.sigma, iteration)
        eps = perturbations(eps_key, theta, problem.particles, sigma)
        losses = self._unrolls(problem, theta, eps, run_key, chunks)
        gradient, deltas = full_es_gradient(losses, eps, sigma, sign=self.sign, clip=self.clip)
        found = Estimate(gradient, jnp.mean(losses, axis=-1), jnp.mean(jnp.abs(deltas)))
        return found, state

    def _unrolls(
        self, problem: CompleteProblem, theta: PyTree, eps: PyTree, key: PRNGKey, chunks: jax.Array
    ) -> jax.Array:
        """What is minimised, of every particle and sign: [particles, 2]."""
        start_key, draw_key, final_key = jax.random.split(key, 3)
        numbers = jnp.arange(problem.particles, dtype=jnp.int32)

        def keys(key: PRNGKey) -> jax.Array:
            return jax.random.split(key, problem.particles)

        thetas = jax.vmap(lambda e: both_signs(theta, e))(eps)
        begin = jax.vmap(problem.begin, in_axes=(0, None, None, None))
        states = jax.vmap(begin, in_axes=(0, 0, 0, None))(
            thetas, keys(start_key), numbers, chunks * self.chunk
        )

        def pair(thetas: PyTree, states: PyTree, key: PRNGKey, number: jax.Array) -> Any:
            draws = problem.draw(key, number, self.chunk)

            def step(states: PyTree, inputs: PyTree) -> tuple[PyTree, jax.Array]:
                one = jax.vmap(problem.step, in_axes=(0, 0, None, None))
                states, out = one(thetas, states, draws.constants, inputs)
                return states, out.loss

            return jax.lax.scan(step, states, draws.steps, length=self.chunk)

        def advance(i: jax.Array, carry: Any) -> Any:
            states, total, least, _ = carry
            chunk_keys = keys(jax.random.fold_in(draw_key, i))
            states, losses = jax.vmap(pair)(thetas, states, chunk_keys, numbers)
            total = total + jnp.sum(losses, axis=1)
            return states, total, jnp.minimum(least, jnp.min(losses, axis=1)), losses[:, -1]

        shape = (problem.particles, 2)
        first = (states, jnp.zeros(shape), jnp.full(shape, jnp.inf), jnp.zeros(shape))
        states, total, least, last = jax.lax.fori_loop(0, chunks, advance, first)
        if self.objective == "avg":
            return total / (chunks * self.chunk)
        if self.objective == "min":
            return least
        if self.objective == "last":
            return last
        final = jax.vmap(problem.final_loss, in_axes=(0, 0, None, None, None))
        return jax.vmap(final, in_axes=(0, 0, 0, 0, None))(
            thetas, states, keys(final_key), numbers, self.recompute_samples
        )


def full_es_gradient(
    losses: jax.Array,
    eps: PyTree,
    sigma: float | jax.Array,
    *,
    sign: float | None = None,
    clip: float | None = None,
) -> tuple[PyTree, jax.Array]:
    """The antithetic estimate from losses of complete unrolls.

    Args:
      losses: float32 [particles, 2 signs].
      eps: perturbations, leading axis of particles.
      sigma: their standard deviation.
      sign: see `FullES`.
      clip: see `FullES`.

    Returns:
      The gradient, and the differences used, [particles]; those that are not finite count as zero.
    """
    deltas = losses[:, 0] - losses[:, 1]
    deltas = jnp.nan_to_num(deltas, nan=0.0, posinf=0.0, neginf=0.0)
    if clip is not None:
        deltas = jnp.clip(deltas, -clip, clip)
    used = deltas if sign is None else sign * jnp.sign(deltas)
    scale = 1.0 / (2.0 * jnp.square(sigma))
    return jax.tree.map(lambda x: scale * x, weighted_mean(used, eps)), deltas


def build(**settings: object) -> FullES:
    """The estimator of a record."""
    return FullES(**settings)  # pyright: ignore[reportArgumentType]
