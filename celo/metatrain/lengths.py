"""How long unrolls are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from celo.protocol import PRNGKey

Law = Literal["log-uniform", "uniform"]


@dataclass(frozen=True)
class Lengths:
    """Whole numbers in [shortest, longest), or always `shortest` if both are equal.

    Attributes:
      shortest: training steps, at least 1.
      longest: training steps.
      law: of the lengths in between.
      offset: unrolls that are the first of a particle start with their counter at a whole number
        in [0, offset), so that particles do not end together; 0 for none.
    """

    shortest: int = 100
    longest: int = 2000
    law: Law = "log-uniform"
    offset: int = 2000

    def sample(self, key: PRNGKey) -> jax.Array:
        """A length, int32 ()."""
        if self.shortest == self.longest:
            return jnp.full((), self.shortest, jnp.int32)
        if self.law == "uniform":
            return jax.random.randint(key, (), self.shortest, self.longest)
        low, high = jnp.log(jnp.float32(self.shortest)), jnp.log(jnp.float32(self.longest))
        drawn = jnp.exp(jax.random.uniform(key, (), minval=low, maxval=high)).astype(jnp.int32)
        # exp(log(x)) may fall short of x in float32.
        return jnp.clip(drawn, self.shortest, self.longest - 1)

    def sample_offset(self, key: PRNGKey) -> jax.Array:
        """Where the counter of a first unroll starts, int32 ()."""
        if not self.offset:
            return jnp.zeros((), jnp.int32)
        return jax.random.randint(key, (), 0, self.offset)
