"""Celo: a per-parameter network whose steps an LSTM scheduler rescales as the run goes on.

Both phases are one optimizer with the same weights and state. In phase 1, the stage of
meta-training that learns the network, the scheduler runs but its output is not applied.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from celo.lopt.accumulators import FactoredLeaf, decays, factored_leaves
from celo.lopt.features import BLOCK_WIDTHS, Blocks, factored_blocks, gradient_blocks
from celo.lopt.leaves import clip_gradients, flatten_with, map_leaves, widen
from celo.lopt.perparam_mlp import (
    MlpWeights,
    apply_mlp,
    column_scales,
    interpolate,
    mlp_network,
    mlp_weights,
)
from celo.lopt.scheduler import init_scheduler, scheduler_network, zero_state
from celo.lopt.theta import check_theta, theta_template
from celo.protocol import LearnedOptimizer, MetaParams, Params, PRNGKey, PyTree
from celo_plugins.schedule import (
    SCHEDULER_INPUTS,
    CeloState,
    Decays,
    ScheduledOptimizer,
    Step,
    advance_schedule,
    update_accumulators,
)

DECAYS = Decays(decays(0.9, 0.99, 0.999), decays(0.999), decays(0.9, 0.99, 0.999))

_HIDDEN = (4, 4)
_OUTPUTS = 3  # published weights have a third output, which nothing uses


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


class Celo(LearnedOptimizer):
    """Celo with any weights."""

    def __init__(self, config: CeloConfig | None = None):
        self.config = config or CeloConfig()
        self.scheduler = scheduler_network(self.config.lstm_hidden_size, self.config.param_inits)

    @property
    def name(self) -> str:
        return "celo-phase1" if self.config.train_phase == 1 else "celo"

    def init(self, key: PRNGKey) -> MetaParams:
        config = self.config
        network = mlp_network(BLOCK_WIDTHS, _HIDDEN, _OUTPUTS)
        stack_key, rest = jax.random.split(key)
        scheduler_key, _ = jax.random.split(rest)
        return {
            "ff_mod_stack": jax.vmap(network.init)(jax.random.split(stack_key, config.param_inits)),
            "lstm_init_state": zero_state(1, config.lstm_hidden_size),
            "rnn_params": init_scheduler(
                self.scheduler, scheduler_key, config.lstm_hidden_size, SCHEDULER_INPUTS
            ),
        }

    def opt_fn(self, theta: MetaParams, is_training: bool = False) -> CeloOptimizer:
        check_theta(self, self._template, theta)
        return CeloOptimizer(self.name, theta, DECAYS, self.scheduler, self.config)

    def get_frozen_param_keys(self) -> list[str] | None:
        """Top-level keys of theta that this phase of meta-training does not train."""
        return _FROZEN.get(self.config.train_phase)

    @functools.cached_property
    def _template(self) -> PyTree:
        return theta_template(self)


@dataclasses.dataclass(frozen=True, eq=False)
class CeloOptimizer(ScheduledOptimizer):
    """Celo with given weights."""

    config: CeloConfig

    def compute(self, opt_state: CeloState, grad: Params, loss: jax.Array) -> Step:
        schedule = advance_schedule(self.scheduler, self.theta, opt_state, loss)
        assert schedule.controls is not None
        stack = mlp_weights(self.theta["ff_mod_stack"], len(BLOCK_WIDTHS))
        clipped = clip_gradients(grad)
        momentum, second_moment, factored = update_accumulators(opt_state, clipped, DECAYS)
        structure = jax.tree.structure(clipped)
        parts = flatten_with(structure, opt_state.params, clipped, momentum.m, second_moment.rms)
        arguments = [
            (widen(p), g, m, rms, v, weights, lr_mult)
            for (p, g, m, rms), v, weights, lr_mult in zip(
                parts,
                factored_leaves(factored, structure),
                interpolate(stack, schedule.controls),
                schedule.lr_mult,
                strict=True,
            )
        ]
        steps = map_leaves(self._leaf_step, arguments)
        return Step(schedule, momentum, second_moment, factored, structure.unflatten(steps))

    def _leaf_step(self, *arguments: Any) -> jax.Array:
        p, g, m, rms, v, weights, lr_mult = arguments
        config = self.config
        step = leaf_step(p, g, m, rms, v, weights, config.exp_mult, config.step_mult)
        return step if self.config.train_phase == 1 else lr_mult * step


def leaf_step(
    p: jax.Array,
    g: jax.Array,
    m: jax.Array,
    rms: jax.Array,
    v: FactoredLeaf,
    weights: MlpWeights,
    exp_mult: float | jax.Array,
    step_mult: float | jax.Array,
) -> jax.Array:
    """The step of one leaf before the scheduler's factor.

    Args:
      p: parameters before the update, shape S, float32.
      g: clipped gradient, shape S, float32.
      m: updated momenta, S + (3,).
      rms: updated second moment, S + (1,).
      v: updated factored accumulators.
      weights: of the per-parameter network for this leaf.
      exp_mult: factor of the second output.
      step_mult: factor of the step.
    """
    blocks, scales = leaf_columns(p, g, m, rms, v)
    direction, magnitude = apply_mlp(blocks, scales, weights, outputs=(0, 1))
    parameter_scale = jnp.sqrt(jnp.mean(jnp.square(p)) + 1e-9)
    return direction * (parameter_scale * jnp.exp(exp_mult * magnitude)) * step_mult


def leaf_columns(
    p: jax.Array, g: jax.Array, m: jax.Array, rms: jax.Array, v: FactoredLeaf
) -> tuple[Blocks, jax.Array]:
    """The thirty input columns of one leaf and the factors that normalise them."""
    blocks = gradient_blocks(p, g, m, rms, v, rms_eps=1e-6) + factored_blocks(m, v, p.shape)
    return blocks, column_scales(blocks, eps=1e-5, axes=tuple(range(p.ndim)))


def build(**hyperparameters: Any) -> Celo:
    """Celo; in phase 2, the default, the scheduler is applied."""
    return Celo(CeloConfig(**hyperparameters))


def build_phase1(**hyperparameters: Any) -> Celo:
    """Celo, phase 1: the scheduler runs but is not applied."""
    return Celo(CeloConfig(train_phase=1, **hyperparameters))
