"""MLP-LOpt: a network of 32 units on gradients, momenta and the step count, for every parameter."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from celo.lopt.accumulators import Momentum, decays, init_momentum, update_momentum
from celo.lopt.leaves import flatten_with, map_leaves, widen
from celo.lopt.optimizer import ThetaOptimizer
from celo.lopt.perparam_mlp import MlpWeights, with_constant_inputs
from celo.lopt.step_features import STEP_FEATURES, step_features
from celo.lopt.theta import CheckedLopt
from celo.lopt.wide_mlp import apply_wide_mlp, column_moments, dense_network, dense_weights
from celo.protocol import (
    MetaParams,
    ModelState,
    Params,
    PRNGKey,
    state_record,
)

DECAYS = decays(0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)

_COLUMNS = 2 + len(DECAYS)
_OUTPUTS = 2


@dataclasses.dataclass(frozen=True)
class MlpLoptConfig:
    """Hyperparameters.

    Attributes:
      hidden_size: units of each hidden layer.
      hidden_layers: number of hidden layers.
      exp_mult: factor of the network's second output, which scales a step exponentially.
      step_mult: factor of every step.
    """

    hidden_size: int = 32
    hidden_layers: int = 2
    exp_mult: float | jax.Array = 0.001
    step_mult: float | jax.Array = 0.001


@state_record
class MlpLoptState:
    """State of a run.

    Attributes:
      params: the parameters being trained.
      state: the task's model state, carried untouched.
      rolling_features: momenta.
      iteration: int32 (), updates done.
    """

    params: Params
    state: ModelState
    rolling_features: Momentum
    iteration: jax.Array


class MlpLopt(CheckedLopt):
    """MLP-LOpt with any weights."""

    def __init__(self, config: MlpLoptConfig | None = None):
        self.config = config or MlpLoptConfig()
        hidden = (self.config.hidden_size,) * self.config.hidden_layers
        self.network = dense_network(hidden, _OUTPUTS)

    @property
    def name(self) -> str:
        return "mlp-lopt"

    def init(self, key: PRNGKey) -> MetaParams:
        return self.network.init(key, jnp.zeros((1, _COLUMNS + STEP_FEATURES), jnp.float32))

    def opt_fn(self, theta: MetaParams, is_training: bool = False) -> MlpLoptOptimizer:
        self.check(theta)
        return MlpLoptOptimizer(self.name, theta, self.config)


@dataclasses.dataclass(frozen=True, eq=False)
class MlpLoptOptimizer(ThetaOptimizer):
    """MLP-LOpt with given weights."""

    config: MlpLoptConfig

    def first_state(self, params: Params, model_state: ModelState, num_steps: Any) -> MlpLoptState:
        momentum = init_momentum(params, len(DECAYS))
        return MlpLoptState(params, model_state, momentum, jnp.zeros((), jnp.int32))

    def next_state(
        self, opt_state: MlpLoptState, grad: Params, loss: Any, model_state: Any, is_valid: Any
    ) -> MlpLoptState:
        grad = jax.tree.map(widen, grad)
        momentum = update_momentum(opt_state.rolling_features, grad, DECAYS)
        weights, matrix = dense_weights(self.theta, _COLUMNS)
        weights = with_constant_inputs(weights, step_features(opt_state.iteration), matrix)
        structure = jax.tree.structure(grad)
        steps = map_leaves(
            lambda *leaf: self._leaf_step(weights, *leaf),
            [
                (widen(p), g, m)
                for p, g, m in flatten_with(structure, opt_state.params, grad, momentum.m)
            ],
        )
        return MlpLoptState(
            params=jax.tree.map(jnp.subtract, opt_state.params, structure.unflatten(steps)),
            state=model_state,
            rolling_features=momentum,
            iteration=opt_state.iteration + 1,
        )

    def _leaf_step(
        self, weights: MlpWeights, p: jax.Array, g: jax.Array, m: jax.Array
    ) -> jax.Array:
        arrays = [p.reshape(-1), g.reshape(-1), m.reshape(-1, len(DECAYS))]
        scales = jax.lax.rsqrt(1e-5 + column_moments(_columns, arrays).square)

        def finish(direction: jax.Array, magnitude: jax.Array) -> jax.Array:
            return direction * jnp.exp(self.config.exp_mult * magnitude) * self.config.step_mult

        return apply_wide_mlp(_columns, arrays, scales, weights, _OUTPUTS, finish)[0].reshape(
            p.shape
        )


def _columns(p: jax.Array, g: jax.Array, m: jax.Array) -> tuple[jax.Array, ...]:
    return g, p, m


def build(**hyperparameters: Any) -> MlpLopt:
    """MLP-LOpt."""
    return MlpLopt(MlpLoptConfig(**hyperparameters))
