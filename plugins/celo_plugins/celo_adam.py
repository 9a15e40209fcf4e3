"""Celo-Adam: Adam whose learning rate is Celo's LSTM scheduler."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from celo.lopt.accumulators import Accumulators, Decays, decays
from celo.lopt.leaves import flatten_with
from celo.lopt.scheduled import Schedule, ScheduledLopt, ScheduledOptimizer, ScheduledState
from celo.protocol import MetaParams, Params
from celo_plugins.schedule import SCHEDULER_INPUTS, loss_schedule

# The factored averages feed nothing; published states hold them.
DECAYS = Decays(decays(0.9), decays(0.999), decays(0.9, 0.99, 0.999))


@dataclasses.dataclass(frozen=True)
class CeloAdamConfig:
    """Hyperparameters; the defaults are those of the published weights.

    Attributes:
      lstm_hidden_size: width of the scheduler.
      step_mult: factor of every step.
      eps: added to the root of the second moment.
    """

    lstm_hidden_size: int = 64
    step_mult: float | jax.Array = 0.001
    eps: float | jax.Array = 1e-8


class CeloAdam(ScheduledLopt):
    """Celo-Adam with any weights."""

    def __init__(self, config: CeloAdamConfig | None = None):
        self.config = config or CeloAdamConfig()
        hidden_size = self.config.lstm_hidden_size
        super().__init__(inputs=SCHEDULER_INPUTS, hidden_size=hidden_size, copies=None)

    @property
    def name(self) -> str:
        return "celo-adam"

    def opt_fn(self, theta: MetaParams, is_training: bool = False) -> CeloAdamOptimizer:
        self.check(theta)
        return CeloAdamOptimizer(self.name, theta, DECAYS, self.scheduler, self.config)


@dataclasses.dataclass(frozen=True, eq=False)
class CeloAdamOptimizer(ScheduledOptimizer):
    """Celo-Adam with given weights."""

    config: CeloAdamConfig

    def schedule(self, opt_state: ScheduledState, loss: jax.Array) -> Schedule:
        return loss_schedule(self.scheduler, self.theta, opt_state, loss)

    def steps(
        self,
        opt_state: ScheduledState,
        clipped: Params,
        accumulators: Accumulators,
        schedule: Schedule,
    ) -> Params:
        count = (opt_state.iteration + 1).astype(jnp.float32)
        structure = jax.tree.structure(clipped)
        moments = (accumulators.momentum.m, accumulators.second_moment.rms)
        steps = [
            self._leaf_step(m[..., 0], rms[..., 0], count, schedule.lr_mult[i])
            for i, (m, rms) in enumerate(flatten_with(structure, *moments))
        ]
        return structure.unflatten(steps)

    def _leaf_step(
        self, m: jax.Array, rms: jax.Array, count: jax.Array, lr_mult: jax.Array
    ) -> jax.Array:
        m = m / (1 - jnp.power(DECAYS.momentum[0], count))
        rms = rms / (1 - jnp.power(DECAYS.second_moment[0], count))
        # 1e-10 under the root and eps outside: the floor is about 1e-5, not Adam's usual one.
        root = self.config.eps + jnp.sqrt(rms + 1e-10)
        return m * (lr_mult * self.config.step_mult / root)


def build(**hyperparameters: Any) -> CeloAdam:
    """Celo-Adam."""
    return CeloAdam(CeloAdamConfig(**hyperparameters))
