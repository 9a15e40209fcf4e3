"""Optimizers whose steps a recurrent network rescales: the state of a run and its one update.

The network (`celo.lopt.scheduler`) sees the losses and how far the run is; what else it sees and
what becomes of its outputs is each optimizer's own. Fields of the state are those of the published
code, so that states can be compared leaf by leaf.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp

from celo.lopt.accumulators import (
    Accumulators,
    DecayArray,
    Decays,
    Factored,
    Momentum,
    SecondMoment,
    init_accumulators,
    update_accumulators,
)
from celo.lopt.leaves import clip_gradients
from celo.lopt.loss_buffer import LossBuffer, init_loss_buffer
from celo.lopt.optimizer import ThetaOptimizer
from celo.lopt.scheduled_mlp import init_scheduled_theta
from celo.lopt.scheduler import scheduler_network, tile_state
from celo.lopt.theta import CheckedLopt
from celo.protocol import MetaParams, ModelState, Params, PRNGKey, state_record


@state_record
class ScheduledState:
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


class Schedule(NamedTuple):
    """The scheduler's view of one update.

    Attributes:
      loss_buffer: with the loss of this update.
      inputs: float32, what the network sees: (inputs,) where all leaves see the same, else
        (leaves, inputs).
      lr_mult: float32 (leaves,), factor of each leaf's step.
      controls: float32 (leaves, copies), by which copies of a network are mixed, or None.
      lstm_state: the one that the new state keeps.
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


class ScheduledLopt(CheckedLopt):
    """With any weights: those of the scheduler, and copies of a per-parameter network it mixes.

    Attributes:
      scheduler: the recurrent network.
    """

    def __init__(self, *, inputs: int, hidden_size: int, copies: int | None):
        """Makes the scheduler.

        Args:
          inputs: what it sees of each leaf.
          hidden_size: its width.
          copies: of the per-parameter network, or None for an optimizer without one.
        """
        self.scheduler = scheduler_network(hidden_size, copies)
        self._inputs, self._hidden_size, self._copies = inputs, hidden_size, copies

    def init(self, key: PRNGKey) -> MetaParams:
        return init_scheduled_theta(
            key,
            self.scheduler,
            inputs=self._inputs,
            hidden_size=self._hidden_size,
            copies=self._copies,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class ScheduledOptimizer(ThetaOptimizer):
    """An optimizer with given weights whose steps a scheduler rescales.

    A subclass says what the scheduler sees (`schedule`) and what is subtracted (`steps`).

    Attributes:
      decays: of the accumulators.
      scheduler: the recurrent network, of `celo.lopt.scheduler.scheduler_network`.
    """

    decays: Decays
    scheduler: hk.Transformed

    reads = ("num_steps", "loss")

    schedule_reads_averages: ClassVar[bool] = False
    """Whether `schedule` looks at whole averages, which can be updated only after that."""

    def schedule(self, opt_state: ScheduledState, loss: jax.Array) -> Schedule:
        """Feeds one loss, float32 (), to the scheduler."""
        raise NotImplementedError

    def steps(
        self,
        opt_state: ScheduledState,
        clipped: Params,
        accumulators: Accumulators,
        schedule: Schedule,
    ) -> Params:
        """What is subtracted from each leaf, float32.

        Args:
          opt_state: before the update.
          clipped: the gradient, clipped, at least float32.
          accumulators: updated with it.
          schedule: the scheduler's view.
        """
        raise NotImplementedError

    def compute(self, opt_state: ScheduledState, grad: Params, loss: jax.Array) -> Step:
        """What one update subtracts and remembers; nothing is cast yet."""
        schedule = self.schedule(opt_state, loss)
        clipped = clip_gradients(grad)
        old = Accumulators(opt_state.mom_rolling, opt_state.rms_rolling, opt_state.fac_rolling)
        decay = self.decays
        if self.schedule_reads_averages:
            # Or XLA copies the old averages, lest they be overwritten before they are read.
            decay = Decays(*(after(own, schedule.lr_mult) for own in decay))
        new = update_accumulators(old, clipped, decay)
        return Step(schedule, *new, self.steps(opt_state, clipped, new, schedule))

    def first_state(
        self, params: Params, model_state: ModelState, num_steps: int | jax.Array | None
    ) -> ScheduledState:
        momentum, second_moment, factored = init_accumulators(params, self.decays)
        lstm_state = self.theta["lstm_init_state"]
        return ScheduledState(
            params=params,
            rms_rolling=second_moment,
            mom_rolling=momentum,
            fac_rolling=factored,
            iteration=jnp.zeros((), jnp.int32),
            state=model_state,
            # A copy: the state may be donated, the caller's array must survive.
            num_steps=jnp.array(num_steps, jnp.int32),
            lstm_hidden_state=tile_state(lstm_state, len(jax.tree.leaves(params))),
            loss_buffer=init_loss_buffer(jnp.asarray(num_steps)),
        )

    def next_state(
        self,
        opt_state: ScheduledState,
        grad: Params,
        loss: jax.Array | None,
        model_state: ModelState,
        is_valid: jax.Array | None,
    ) -> ScheduledState:
        assert loss is not None
        return advance(opt_state, self.compute(opt_state, grad, loss), model_state)


def after(value: DecayArray, awaited: jax.Array) -> jax.Array:
    """The same values, of which the compiler does not know that they are not computed from others.

    Nothing is larger than infinity, and a NaN is not either.
    """
    return jnp.asarray(value) + jnp.any(awaited > jnp.inf).astype(value.dtype)


def advance(opt_state: ScheduledState, new: Step, model_state: ModelState) -> ScheduledState:
    """Subtracts a step and remembers the rest, in whatever dtypes they were computed."""
    return ScheduledState(
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
