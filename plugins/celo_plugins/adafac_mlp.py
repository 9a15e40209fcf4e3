"""Adafac-MLP: a small network on Adafactor-like features, applied to every parameter."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from celo.lopt.accumulators import (
    Accumulators,
    Decays,
    Factored,
    FactoredLeaf,
    Momentum,
    SecondMoment,
    decays,
    factored_leaves,
    init_accumulators,
    update_accumulators,
)
from celo.lopt.features import (
    Blocks,
    factored_blocks,
    factored_squares,
    gradient_blocks,
    gradient_squares,
)
from celo.lopt.leaves import flatten_with, map_leaves, widen
from celo.lopt.optimizer import ThetaOptimizer
from celo.lopt.perparam_mlp import (
    MlpWeights,
    apply_mlp,
    column_scales,
    mean_squares,
    mlp_network,
    mlp_weights,
    with_constant_inputs,
)
from celo.lopt.step_features import STEP_FEATURES, step_features
from celo.lopt.theta import CheckedLopt
from celo.protocol import (
    MetaParams,
    ModelState,
    Params,
    PRNGKey,
    PyTree,
    state_record,
)

DECAYS = Decays(decays(0.9, 0.99, 0.999), decays(0.999), decays(0.9, 0.99, 0.999))
"""Of the initial weights; theta moves them."""

_COLUMNS = 28
_OUTPUTS = 2


@dataclasses.dataclass(frozen=True)
class AdafacMlpConfig:
    """Hyperparameters; the defaults are those of the published weights.

    Attributes:
      hidden_size: units of each hidden layer.
      hidden_layers: number of hidden layers.
      exp_mult: factor of the network's second output, which scales a step exponentially.
      step_mult: factor of every step.
    """

    hidden_size: int = 4
    hidden_layers: int = 2
    exp_mult: float | jax.Array = 0.001
    step_mult: float | jax.Array = 0.001


@state_record
class AdafacMlpState:
    """State of a run.

    Attributes:
      params: the parameters being trained.
      state: the task's model state, carried untouched.
      mom_rolling: momenta.
      rms_rolling: second moments.
      fac_rolling_features: factored second moments.
      num_steps: int32 (), length of the run; kept because published states have it, never read.
      iteration: int32 (), updates done.
    """

    params: Params
    state: ModelState
    mom_rolling: Momentum
    rms_rolling: SecondMoment
    fac_rolling_features: Factored
    num_steps: jax.Array
    iteration: jax.Array


class AdafacMlp(CheckedLopt):
    """Adafac-MLP with any weights."""

    def __init__(self, config: AdafacMlpConfig | None = None):
        self.config = config or AdafacMlpConfig()

    @property
    def name(self) -> str:
        return "adafac-mlp-lopt"

    def init(self, key: PRNGKey) -> MetaParams:
        hidden = (self.config.hidden_size,) * self.config.hidden_layers
        arrays = dict(mlp_network((_COLUMNS + STEP_FEATURES,), hidden, _OUTPUTS).init(key)["~"])
        # One matrix for all inputs, hence without a block's number.
        arrays["w0"] = arrays.pop("w0__0")
        return {
            "momentum_decays": jnp.zeros(len(DECAYS.momentum), jnp.float32),
            "rms_decays": jnp.zeros(len(DECAYS.second_moment), jnp.float32),
            "adafactor_decays": jnp.zeros(len(DECAYS.factored), jnp.float32),
            "nn": {"~": arrays},
        }

    def opt_fn(self, theta: MetaParams, is_training: bool = False) -> AdafacMlpOptimizer:
        self.check(theta)
        return AdafacMlpOptimizer(self.name, theta, self.config)


@dataclasses.dataclass(frozen=True, eq=False)
class AdafacMlpOptimizer(ThetaOptimizer):
    """Adafac-MLP with given weights."""

    config: AdafacMlpConfig

    reads = ("num_steps",)

    def first_state(
        self, params: Params, model_state: ModelState, num_steps: Any
    ) -> AdafacMlpState:
        accumulators = init_accumulators(params, DECAYS)
        return AdafacMlpState(
            params=params,
            state=model_state,
            mom_rolling=accumulators.momentum,
            rms_rolling=accumulators.second_moment,
            fac_rolling_features=accumulators.factored,
            # A copy: the state may be donated, the caller's array must survive.
            num_steps=jnp.array(num_steps, jnp.int32),
            iteration=jnp.zeros((), jnp.int32),
        )

    def next_state(
        self, opt_state: AdafacMlpState, grad: Params, loss: Any, model_state: Any, is_valid: Any
    ) -> AdafacMlpState:
        # Nothing clips the gradients.
        grad = jax.tree.map(widen, grad)
        old = Accumulators(
            opt_state.mom_rolling, opt_state.rms_rolling, opt_state.fac_rolling_features
        )
        new = update_accumulators(old, grad, learned_decays(self.theta))
        structure = jax.tree.structure(grad)
        parts = flatten_with(
            structure, opt_state.params, grad, new.momentum.m, new.second_moment.rms
        )
        weights = network_weights(self.theta["nn"], opt_state.iteration)
        steps = map_leaves(
            lambda *arguments: self._leaf_step(weights, *arguments),
            [
                (widen(p), *rest, v)
                for (p, *rest), v in zip(
                    parts, factored_leaves(new.factored, structure), strict=True
                )
            ],
        )
        return AdafacMlpState(
            params=jax.tree.map(jnp.subtract, opt_state.params, structure.unflatten(steps)),
            state=model_state,
            mom_rolling=new.momentum,
            rms_rolling=new.second_moment,
            fac_rolling_features=new.factored,
            num_steps=opt_state.num_steps,
            iteration=opt_state.iteration + 1,
        )

    def _leaf_step(self, weights: MlpWeights, *leaf: Any) -> jax.Array:
        blocks, scales = leaf_columns(*leaf)
        direction, magnitude = apply_mlp(blocks, scales, weights, outputs=(0, 1))
        return direction * jnp.exp(self.config.exp_mult * magnitude) * self.config.step_mult


def learned_decays(theta: MetaParams) -> Decays:
    """The decays that theta makes of the initial ones; those of squares are at most one."""

    def moved(initial: Any, by: jax.Array) -> jax.Array:
        return 1 - jnp.exp(10 * (jnp.log(1 - initial) / 10 + by))

    return Decays(
        momentum=moved(DECAYS.momentum, theta["momentum_decays"]),
        second_moment=jnp.clip(moved(DECAYS.second_moment, theta["rms_decays"]), 0, 1),
        factored=jnp.clip(moved(DECAYS.factored, theta["adafactor_decays"]), 0, 1),
    )


def network_weights(network: PyTree, iteration: jax.Array) -> MlpWeights:
    """The network for the columns, with what the step count adds to the first bias."""
    arrays = network["~"]
    weights = mlp_weights({"~": {**arrays, "w0__0": arrays["w0"][:_COLUMNS]}}, blocks=1)
    return with_constant_inputs(weights, step_features(iteration), arrays["w0"][_COLUMNS:])


def leaf_columns(
    p: jax.Array, g: jax.Array, m: jax.Array, rms: jax.Array, v: FactoredLeaf
) -> tuple[Blocks, jax.Array]:
    """The 28 columns of one leaf and the factors that normalise them.

    All accumulators are updated, everything is at least float32.
    """
    g_block, _, *blocks, _ = gradient_blocks(p, g, m, rms, v, rms_eps=1e-6)
    blocks = (g_block, *blocks, *factored_blocks(m, v, p.shape, diagonal_eps=1e-6))
    g_square, _, *squares, _ = gradient_squares(p, g, m, rms, v, rms_eps=1e-6)
    squares = (g_square, *squares, *factored_squares(m, v, p.shape, diagonal_eps=1e-6))
    return blocks, column_scales(mean_squares(squares), eps=1e-5)


def build(**hyperparameters: Any) -> AdafacMlp:
    """Adafac-MLP."""
    return AdafacMlp(AdafacMlpConfig(**hyperparameters))
