"""Celo: a per-parameter network whose steps an LSTM scheduler rescales as the run goes on.

Both phases are one optimizer with the same weights and state. In phase 1, the stage of
meta-training that learns the network, the scheduler runs but its output is not applied.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax

from celo.lopt.accumulators import Accumulators
from celo.lopt.features import BLOCK_WIDTHS
from celo.lopt.perparam_mlp import interpolate, mlp_weights
from celo.lopt.scheduled import Schedule, ScheduledLopt, ScheduledOptimizer, ScheduledState
from celo.lopt.scheduled_mlp import MLP_DECAYS, mlp_steps
from celo.protocol import MetaParams, Params, PRNGKey
from celo_plugins.schedule import SCHEDULER_INPUTS, loss_schedule


@dataclasses.dataclass(frozen=True)
class CeloConfig:
    """Hyperparameters; the defaults are those of the published weights.

    Attributes:
      train_phase: 1: the scheduler's output is not applied; 2: it is.
      lstm_hidden_size: width of the scheduler.
      param_inits: copies of the per-parameter network that the scheduler interpolates.
      exp_mult: factor of the network's second output, which scales a step exponentially.
      step_mult: factor of every step.
    """

    train_phase: int = 2
    lstm_hidden_size: int = 64
    param_inits: int = 1
    exp_mult: float | jax.Array = 0.001
    step_mult: float | jax.Array = 0.001


_FROZEN = {1: ["lstm_init_state", "rnn_params"], 2: ["ff_mod_stack"]}

START_RATE = 3.0
START_NOISE = 0.1
# Block 5 holds the three momenta over the root of the second moment; ReLU needs both signs.
_MOMENTUM_PATH: dict[str, dict[tuple[int, int], float]] = {
    "w0__5": {(0, 0): 0.5, (0, 1): -0.5, (1, 0): 0.5, (1, 1): -0.5},
    "w1": {(0, 0): 1.0, (1, 1): 1.0},
    "w2": {(0, 0): START_RATE, (1, 0): -START_RATE},
}


class Celo(ScheduledLopt):
    """Celo with any weights."""

    def __init__(self, config: CeloConfig | None = None):
        self.config = config or CeloConfig()
        super().__init__(
            inputs=SCHEDULER_INPUTS,
            hidden_size=self.config.lstm_hidden_size,
            copies=self.config.param_inits,
        )

    @property
    def name(self) -> str:
        return "celo-phase1" if self.config.train_phase == 1 else "celo"

    def momentum_start(self, key: PRNGKey) -> MetaParams:
        """Weights with which it is a hand-made optimizer, as a start for meta-training.

        Two units of each layer pass the normalised momenta through, so that steps go along them and
        a thousandth of `START_RATE` times a leaf's size far; all else is random and small. The
        scheduler starts near a factor of one.
        """
        theta = self.init(key)
        names = dict(theta["ff_mod_stack"]["~"])
        weights = {name: START_NOISE * array for name, array in names.items()}
        for name, entries in _MOMENTUM_PATH.items():
            for place, value in entries.items():
                weights[name] = weights[name].at[(..., *place)].add(value)
        scheduler = {module: dict(arrays) for module, arrays in theta["rnn_params"].items()}
        scheduler["step_size"]["b"] += math.log(10.0)
        return {**theta, "ff_mod_stack": {"~": weights}, "rnn_params": scheduler}

    def opt_fn(self, theta: MetaParams, is_training: bool = False) -> CeloOptimizer:
        self.check(theta)
        return CeloOptimizer(self.name, theta, MLP_DECAYS, self.scheduler, self.config)

    def get_frozen_param_keys(self) -> list[str] | None:
        """Top-level keys of theta that this phase of meta-training does not train."""
        return _FROZEN.get(self.config.train_phase)


@dataclasses.dataclass(frozen=True, eq=False)
class CeloOptimizer(ScheduledOptimizer):
    """Celo with given weights."""

    config: CeloConfig

    def schedule(self, opt_state: ScheduledState, loss: jax.Array) -> Schedule:
        return loss_schedule(self.scheduler, self.theta, opt_state, loss)

    def steps(
        self,
        opt_state: ScheduledState,
        clipped: Params,
        accumulators: Accumulators,
        schedule: Schedule,
    ) -> Params:
        assert schedule.controls is not None
        stack = mlp_weights(self.theta["ff_mod_stack"], len(BLOCK_WIDTHS))
        # Every leaf sees the same losses, so that the first row stands for all.
        return mlp_steps(
            opt_state.params,
            clipped,
            accumulators,
            interpolate(stack, schedule.controls[:1]),
            None if self.config.train_phase == 1 else schedule.lr_mult[:1],
            exp_mult=self.config.exp_mult,
            step_mult=self.config.step_mult,
        )


def build(**hyperparameters: Any) -> Celo:
    """Celo; in phase 2, the default, the scheduler is applied."""
    return Celo(CeloConfig(**hyperparameters))


def build_phase1(**hyperparameters: Any) -> Celo:
    """Celo, phase 1: the scheduler runs but is not applied."""
    return Celo(CeloConfig(train_phase=1, **hyperparameters))
