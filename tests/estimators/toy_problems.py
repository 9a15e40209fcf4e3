"""The two toy problems of the golden file `pes__toy.npz`, whose exact meta-gradients are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from celo.estimators import Draws, StepOutput


class NoDraws:
    """Problems in which nothing is random."""

    def draw(self, key: jax.Array, particle: jax.Array, steps: int) -> Draws:
        return Draws((), None)


@dataclass(frozen=True, eq=False)
class InfluenceBalancing(NoDraws):
    """Problem A: s <- A s + b theta, loss (s[0] - 1)^2 / 2; the reset step ends an unroll."""

    matrix: np.ndarray
    sign: np.ndarray
    particles: int
    train_steps: int = 99

    def init(self, theta: Any, key: jax.Array, particle: jax.Array) -> Any:
        return jnp.ones(23), jnp.int32(0)

    def step(self, theta: Any, state: Any, constants: Any, inputs: Any) -> tuple[Any, StepOutput]:
        s, count = state
        reset = count == self.train_steps
        product = jnp.sum(jnp.asarray(self.matrix, jnp.float32) * s, axis=1)
        moved = product + jnp.asarray(self.sign, jnp.float32) * theta
        s = jnp.where(reset, jnp.ones(23), moved)
        loss = jnp.where(reset, 0.0, 0.5 * jnp.square(s[0] - 1))
        return (s, jnp.where(reset, 0, count + 1)), StepOutput(loss, ~reset, reset)


@dataclass(frozen=True, eq=False)
class LearnedRate(NoDraws):
    """Problem B: gradient descent with the rate exp(theta) on a quadratic, as our inner training.

    The loss is that before the update, the last training step flags the end, the next one resets.
    """

    hessian: np.ndarray
    start: np.ndarray
    particles: int
    length: int = 29

    def _first(self, endless: bool = False) -> Any:
        limit = 2**30 if endless else self.length
        return (
            jnp.asarray(self.start, jnp.float32),
            jnp.int32(0),
            jnp.array(False),
            jnp.int32(limit),
        )

    def init(self, theta: Any, key: jax.Array, particle: jax.Array) -> Any:
        return self._first()

    def step(self, theta: Any, state: Any, constants: Any, inputs: Any) -> tuple[Any, StepOutput]:
        w, count, done, limit = state
        hessian = jnp.asarray(self.hessian, jnp.float32)
        loss = jnp.where(done, 0.0, 0.5 * jnp.sum(hessian * w * w))
        w = jnp.where(done, jnp.asarray(self.start, jnp.float32), w - jnp.exp(theta) * hessian * w)
        count = jnp.where(done, 0, count + 1)
        ended = count >= limit
        return (w, count, ended, limit), StepOutput(loss, ~done, ended)

    def sample_length(self, key: jax.Array) -> jax.Array:
        return jnp.int32(self.length)

    def begin(self, theta: Any, key: jax.Array, particle: jax.Array, length: jax.Array) -> Any:
        return self._first(endless=True)

    def final_loss(
        self, theta: Any, state: Any, key: jax.Array, particle: jax.Array, samples: int
    ) -> jax.Array:
        w = state[0]
        return 0.5 * jnp.sum(jnp.asarray(self.hessian, jnp.float32) * w * w)
