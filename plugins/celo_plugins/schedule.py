"""What Celo and Celo-Adam have in common: the state, and the scheduler that reads the loss."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from celo.lopt.accumulators import (
    Factored,
    Momentum,
    SecondMoment,
    init_factored,
    init_momentum,
    init_second_moment,
    update_factored,
    update_momentum,
    update_second_moment,
)
from celo.lopt.loss_buffer import (
    FEATURES,
    LossBuffer,
    init_loss_buffer,
    loss_features,
    update_loss_buffer,
)
from celo.lopt.optimizer import ThetaOptimizer
from celo.lopt.scheduler import (
    PROGRESS_FEATURES,
    apply_scheduler,
    progress_embedding,
    tile_state,
)
from celo.protocol import (
    MetaParams,
    ModelState,
    Params,
    state_record,
)

SCHEDULER_INPUTS = PROGRESS_FEATURES + FEATURES

_GRADIENT_BOUND = 1000.0


@state_record
class CeloState:
    """State of a run.

    Attributes:
      params: the parameters being trained.
      rms_rolling: second moments.
      mom_rolling: momenta.
      fac_rolling: factored second moments.
      iteration: int32 (), updates done.
      state: the task's model state, carried untouched.
      num_steps: int32 (), length of the run.
      lstm_hidden_state: hidden and cell, float32 (leaves, hidden size).
      loss_buffer: running averages of the loss.
    """

    params: Params
    rms_rolling: SecondMoment
    mom_rolling: Momentum
    fac_rolling: Factored
    iteration: jax.Array
    state: ModelState
    num_steps: jax.Array
    lstm_hidden_state: hk.LSTMState
    loss_buffer: LossBuffer


class Decays(NamedTuple):
    """Decays of the three kinds of accumulators, float32 arrays."""

    momentum: np.ndarray
    second_moment: np.ndarray
    factored: np.ndarray


class Schedule(NamedTuple):
    """The scheduler's view of one update.

    Attributes:
      loss_buffer: with the loss of this update.
      inputs: float32 (18,), what the network sees: progress (9), loss features (9).
      lr_mult: float32 (leaves,), equal for all leaves since their inputs are.
      controls: float32 (leaves, copies) after the softmax, or None.
      lstm_state: after this update.
    """

    loss_buffer: LossBuffer
    inputs: jax.Array
    lr_mult: jax.Array
    controls: jax.Array | None
    lstm_state: hk.LSTMState


class Step(NamedTuple):
    """Everything one update computes, before it is written to a new state.

    Attributes:
      schedule: the scheduler's view.
      momentum: updated.
      second_moment: updated.
      factored: updated.
      steps: tree like the parameters, float32: what is subtracted from them.
    """

    schedule: Schedule
    momentum: Momentum
    second_moment: SecondMoment
    factored: Factored
    steps: Params


@dataclasses.dataclass(frozen=True, eq=False)
class ScheduledOptimizer(ThetaOptimizer):
    """An optimizer whose steps a scheduler rescales; `compute` is the algorithm."""

    decays: Decays
    scheduler: hk.Transformed

    reads = ("num_steps", "loss")

    def compute(self, opt_state: CeloState, grad: Params, loss: jax.Array) -> Step:
        """What one update subtracts and remembers; nothing is cast yet."""
        raise NotImplementedError

    def first_state(
        self, params: Params, model_state: ModelState, num_steps: int | jax.Array | None
    ) -> CeloState:
        return init_state(params, model_state, num_steps, self.theta, self.decays)

    def next_state(
        self,
        opt_state: CeloState,
        grad: Params,
        loss: jax.Array | None,
        model_state: ModelState,
        is_valid: jax.Array | None,
    ) -> CeloState:
        assert loss is not None
        return advance(opt_state, self.compute(opt_state, grad, loss), model_state)


def advance(opt_state: CeloState, new: Step, model_state: ModelState) -> CeloState:
    """Subtracts a step and remembers the rest, in whatever dtypes they were computed."""
    return CeloState(
        params=jax.tree.map(jnp.subtract, opt_state.params, new.steps),
        rms_rolling=new.second_moment,
        mom_rolling=new.momentum,
        fac_rolling=new.factored,
        iteration=opt_state.iteration + 1,
        state=model_state,
        num_steps=opt_state.num_steps,
        lstm_hidden_state=new.schedule.lstm_state,
        loss_buffer=new.schedule.loss_buffer,
    )


def init_state(
    params: Params,
    model_state: ModelState,
    num_steps: Any,
    theta: MetaParams,
    decays: Decays,
) -> CeloState:
    """The state before the first update."""
    return CeloState(
        params=params,
        rms_rolling=init_second_moment(params, len(decays.second_moment)),
        mom_rolling=init_momentum(params, len(decays.momentum)),
        fac_rolling=init_factored(params, len(decays.factored)),
        iteration=jnp.zeros((), jnp.int32),
        state=model_state,
        # A copy: the state may be donated, the caller's array must survive.
        num_steps=jnp.array(num_steps, jnp.int32),
        lstm_hidden_state=tile_state(theta["lstm_init_state"], len(jax.tree.leaves(params))),
        loss_buffer=init_loss_buffer(jnp.asarray(num_steps)),
    )


def advance_schedule(
    network: hk.Transformed, theta: MetaParams, opt_state: CeloState, loss: jax.Array
) -> Schedule:
    """Feeds one loss to the scheduler."""
    buffer = update_loss_buffer(opt_state.loss_buffer, loss)
    progress = progress_embedding(opt_state.iteration, opt_state.num_steps)
    inputs = jnp.concatenate([progress, loss_features(buffer)])
    output = apply_scheduler(
        network, theta["rnn_params"], inputs[None, :], opt_state.lstm_hidden_state
    )
    # With one copy the softmax is 1, or NaN after a NaN loss: that it spreads is published
    # behaviour, and it costs next to nothing.
    controls = None if output.controls is None else jax.nn.softmax(output.controls, axis=-1)
    return Schedule(buffer, inputs, 0.1 * jnp.exp(output.log_step), controls, output.state)


def update_accumulators(
    opt_state: CeloState, clipped: Params, decays: Decays
) -> tuple[Momentum, SecondMoment, Factored]:
    """All accumulators after one gradient, not yet cast to the dtypes of the state."""
    return (
        update_momentum(opt_state.mom_rolling, clipped, decays.momentum),
        update_second_moment(opt_state.rms_rolling, clipped, decays.second_moment),
        update_factored(opt_state.fac_rolling, clipped, decays.factored),
    )
