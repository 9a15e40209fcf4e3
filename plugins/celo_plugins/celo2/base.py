"""Celo2-base: a learned network whose directions get their size from `step_mult` alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from celo.lopt.accumulators import Factored, Momentum, SecondMoment
from celo.lopt.leaves import widen
from celo.lopt.optimizer import ThetaOptimizer
from celo.lopt.theta import CheckedLopt
from celo.protocol import (
    MetaParams,
    ModelState,
    Optimizer,
    Params,
    PRNGKey,
    state_record,
)
from celo_plugins.celo2.rule import (
    Celo2Rule,
    Number,
    RuleState,
    init_rule,
    init_weights,
    rule_directions,
)


@dataclasses.dataclass(frozen=True)
class Celo2BaseConfig(Celo2Rule):
    """Hyperparameters of Celo2-base; the defaults are the published ones.

    Attributes:
      step_mult: learning rate; it goes into the state, where it may be replaced at any time.
      weight_decay: fraction of a parameter, times `step_mult`, taken away each step.
    """

    orthogonalize: bool = False
    step_mult: Number = 0.001
    weight_decay: Number = 0.0


@state_record
class Celo2BaseState:
    """State of a run with Celo2-base.

    Attributes:
      params: the parameters being trained.
      rms_rolling: second moments.
      mom_rolling: momenta.
      fac_rolling: factored second moments.
      iteration: int32 (), updates done.
      state: the task's model state, carried untouched.
      step_mult: float32 (), learning rate.
    """

    params: Params
    rms_rolling: SecondMoment
    mom_rolling: Momentum
    fac_rolling: Factored
    iteration: jax.Array
    state: ModelState
    step_mult: jax.Array


class Celo2Base(CheckedLopt):
    """Celo2-base with any weights."""

    def __init__(self, config: Celo2BaseConfig | None = None):
        self.config = config or Celo2BaseConfig()

    @property
    def name(self) -> str:
        return "celo2-base"

    def init(self, key: PRNGKey) -> MetaParams:
        return init_weights(key)

    def opt_fn(self, theta: MetaParams, is_training: bool = False) -> Optimizer:
        self.check(theta)
        return Celo2BaseOptimizer(self.name, theta, self.config)


@dataclasses.dataclass(frozen=True, eq=False)
class Celo2BaseOptimizer(ThetaOptimizer):
    """Celo2-base with given weights."""

    config: Celo2BaseConfig

    def compute(self, opt_state: Celo2BaseState, grad: Params) -> tuple[Params, RuleState]:
        """Directions and averages after one gradient; nothing is cast yet."""
        s = opt_state
        averages = RuleState(s.mom_rolling, s.rms_rolling, s.fac_rolling, s.iteration)
        return rule_directions(self.config, self.theta, averages, s.params, grad)

    def first_state(
        self, params: Params, model_state: ModelState, num_steps: int | jax.Array | None
    ) -> Celo2BaseState:
        step_mult = jnp.array(self.config.step_mult, jnp.float32)
        return _base_state(params, init_rule(params), model_state, step_mult)

    def next_state(
        self, opt_state: Celo2BaseState, grad: Params, loss: Any, model_state: Any, is_valid: Any
    ) -> Celo2BaseState:
        return self.advance(opt_state, *self.compute(opt_state, grad), model_state)

    def advance(
        self,
        opt_state: Celo2BaseState,
        directions: Params,
        averages: RuleState,
        model_state: ModelState,
    ) -> Celo2BaseState:
        """Takes the steps and remembers the averages."""
        step_mult, weight_decay = opt_state.step_mult, self.config.weight_decay
        params = jax.tree.map(
            lambda p, s: descend(p, s, step_mult, weight_decay), opt_state.params, directions
        )
        return _base_state(params, averages, model_state, step_mult)


def _base_state(
    params: Params, averages: RuleState, model_state: ModelState, step_mult: jax.Array
) -> Celo2BaseState:
    return Celo2BaseState(
        params=params,
        rms_rolling=averages.rms_rolling,
        mom_rolling=averages.mom_rolling,
        fac_rolling=averages.fac_rolling,
        iteration=averages.iteration,
        state=model_state,
        step_mult=step_mult,
    )


def descend(p: jax.Array, s: jax.Array, step_mult: jax.Array, weight_decay: Number) -> jax.Array:
    """One step along a direction with decoupled weight decay, float32."""
    p = widen(p)
    return p - step_mult * s - weight_decay * p * step_mult


def build(**hyperparameters: Any) -> Celo2Base:
    """Celo2-base."""
    return Celo2Base(Celo2BaseConfig(**hyperparameters))
