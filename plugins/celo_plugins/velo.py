"""VeLO: an LSTM that sees every tensor mixes a per-parameter network for each of them.

Like Celo it rescales the steps of a small network; unlike Celo's, its scheduler sees statistics of
each leaf, and its raw outputs (no softmax, no exponential) are what mixes copies and scales steps.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from celo.lopt.accumulators import Accumulators
from celo.lopt.features import BLOCK_WIDTHS, split_columns
from celo.lopt.leaves import flatten_with, widen
from celo.lopt.loss_buffer import FEATURES, init_loss_buffer, loss_features, update_loss_buffer
from celo.lopt.perparam_mlp import interpolate, mlp_weights
from celo.lopt.scheduled import Schedule, ScheduledLopt, ScheduledOptimizer, ScheduledState
from celo.lopt.scheduled_mlp import MLP_DECAYS, mlp_steps
from celo.lopt.scheduler import (
    PROGRESS_FEATURES,
    apply_scheduler,
    progress_embedding,
)
from celo.lopt.sums import sum_columns
from celo.protocol import MetaParams, ModelState, Params

_RANKS = 5  # one-hot of the rank; higher ranks are all zeros
_LEAF_INPUTS = 1 + _RANKS + 2 * len(MLP_DECAYS.momentum)
SCHEDULER_INPUTS = PROGRESS_FEATURES + FEATURES + _LEAF_INPUTS

_BUGGED_NUM_STEPS = 10


@dataclasses.dataclass(frozen=True)
class VeloConfig:
    """Hyperparameters; fixed by the weights except the multipliers.

    Attributes:
      lstm_hidden_size: width of the scheduler.
      param_inits: copies of the per-parameter network that the scheduler mixes.
      ff_mult: factor of the mixed network's weights.
      exp_mult: factor of the network's second output, which scales a step exponentially.
      step_mult: factor of every step.
      use_bugged_next_lstm_state: the scheduler forgets: it starts every update from the state
        that it was initialised with.
      use_bugged_loss_features: averages of the loss as in a run of ten updates, whatever its
        length.
    """

    lstm_hidden_size: int = 512
    param_inits: int = 256
    ff_mult: float | jax.Array = 1.0
    exp_mult: float | jax.Array = 0.001
    step_mult: float | jax.Array = 0.001
    use_bugged_next_lstm_state: bool = False
    use_bugged_loss_features: bool = False


VELO_S = VeloConfig(lstm_hidden_size=64, param_inits=32)
VELO = VeloConfig()
# The weights of the 4000 TPU-months were trained with networks a hundred times their mean.
VELO_4000 = VeloConfig(ff_mult=100.0)


class Velo(ScheduledLopt):
    """VeLO with any weights.

    Args:
      name: the name of this configuration.
      config: its values.
    """

    def __init__(self, name: str = "velo", config: VeloConfig = VELO):
        self._name = name
        self.config = config
        super().__init__(
            inputs=SCHEDULER_INPUTS,
            hidden_size=config.lstm_hidden_size,
            copies=config.param_inits,
        )

    @property
    def name(self) -> str:
        return self._name

    def opt_fn(self, theta: MetaParams, is_training: bool = False) -> VeloOptimizer:
        self.check(theta)
        return VeloOptimizer(self.name, theta, MLP_DECAYS, self.scheduler, self.config)


@dataclasses.dataclass(frozen=True, eq=False)
class VeloOptimizer(ScheduledOptimizer):
    """VeLO with given weights."""

    config: VeloConfig

    schedule_reads_averages = True

    def first_state(
        self, params: Params, model_state: ModelState, num_steps: int | jax.Array | None
    ) -> ScheduledState:
        state = super().first_state(params, model_state, num_steps)
        if self.config.use_bugged_loss_features:
            buffer = init_loss_buffer(jnp.asarray(_BUGGED_NUM_STEPS))
            return dataclasses.replace(state, loss_buffer=buffer)
        return state

    def schedule(self, opt_state: ScheduledState, loss: jax.Array) -> Schedule:
        buffer = update_loss_buffer(opt_state.loss_buffer, loss)
        progress = progress_embedding(opt_state.iteration, opt_state.num_steps)
        common = jnp.concatenate([progress, loss_features(buffer)])
        leaves = leaf_inputs(opt_state)
        repeated = jnp.broadcast_to(common, (leaves.shape[0], *common.shape))
        inputs = jnp.concatenate([repeated, leaves], axis=1)
        old = opt_state.lstm_hidden_state
        output = apply_scheduler(self.scheduler, self.theta["rnn_params"], inputs, old)
        new = old if self.config.use_bugged_next_lstm_state else output.state
        return Schedule(buffer, inputs, output.log_step, output.controls, new)

    def steps(
        self,
        opt_state: ScheduledState,
        clipped: Params,
        accumulators: Accumulators,
        schedule: Schedule,
    ) -> Params:
        assert schedule.controls is not None
        stack = mlp_weights(self.theta["ff_mod_stack"], len(BLOCK_WIDTHS))
        return mlp_steps(
            opt_state.params,
            clipped,
            accumulators,
            interpolate(stack, self.config.ff_mult * schedule.controls),
            schedule.lr_mult,
            exp_mult=self.config.exp_mult,
            step_mult=self.config.step_mult,
        )


def leaf_inputs(opt_state: ScheduledState) -> jax.Array:
    """What the scheduler sees of each leaf, float32 (leaves, 12).

    Second moment (1), rank (5), spread of the momenta (3), distance of the second moment from them
    (3), all of the state *before* the update: the first update sees zeros. Moments are relative to
    the size of the leaf (the second moment too, by its root only), squashed logarithms.
    """
    params, structure = jax.tree.flatten(opt_state.params)
    if not params:
        return jnp.zeros((0, _LEAF_INPUTS), jnp.float32)
    momentum, second_moment = opt_state.mom_rolling.m, opt_state.rms_rolling.rms
    parts = flatten_with(structure, opt_state.params, momentum, second_moment)
    # One by one: `map_leaves` would copy the momenta and compiles no faster here.
    statistics = jnp.stack([_leaf_statistics(*part) for part in parts])
    inverse_size = jax.lax.rsqrt(jnp.maximum(1e-9, statistics[:, :1]))
    mean, variances = statistics[:, 1:2] * inverse_size, statistics[:, 2:]
    spreads = variances * jnp.square(inverse_size)
    ranks = np.asarray([_rank_row(p.shape) for p in params], np.float32)
    return jnp.concatenate([_squash(mean), ranks, _squash(spreads)], axis=1)


def _leaf_statistics(p: jax.Array, m: jax.Array, rms: jax.Array) -> jax.Array:
    """Mean square of p, mean of rms, variance of m (3), mean square of rms - mean m (3)."""
    # Nothing is scaled by the size of the leaf here, so that only numbers leave the two passes.
    second, momenta = widen(rms)[..., 0], split_columns(widen(m))
    square, mean_rms, *mean_m = _means(jnp.square(widen(p)), second, *momenta)
    distance, *spread_m = _means(
        jnp.square(second - mean_rms),
        *(jnp.square(x - mean) for x, mean in zip(momenta, mean_m, strict=True)),
    )
    # The mean square of rms - mean_m, one column instead of three.
    spread_rms = (distance + jnp.square(mean_rms - mean) for mean in mean_m)
    return jnp.stack([square, mean_rms, *spread_m, *spread_rms])


def _means(*columns: jax.Array) -> list[jax.Array]:
    """Over all axes; zero for an empty leaf, which must not poison the others."""
    return [total / max(columns[0].size, 1) for total in sum_columns(columns, 0)]


def _rank_row(shape: tuple[int, ...]) -> list[bool]:
    rank = sum(size > 1 for size in shape)
    return [rank == k for k in range(_RANKS)]


def _squash(x: jax.Array) -> jax.Array:
    return jnp.clip(jnp.log(1e-8 + jnp.abs(10.0 * x)), -5.0, 5.0) * 0.5


def build_s(**hyperparameters: Any) -> Velo:
    """VeLO, small."""
    return Velo("velo-s", dataclasses.replace(VELO_S, **hyperparameters))


def build(**hyperparameters: Any) -> Velo:
    """VeLO."""
    return Velo("velo", dataclasses.replace(VELO, **hyperparameters))


def build_4000(**hyperparameters: Any) -> Velo:
    """VeLO as the weights of 4000 TPU-months need it."""
    return Velo("velo-4000", dataclasses.replace(VELO_4000, **hyperparameters))
