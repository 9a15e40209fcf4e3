"""One update of RNN-MLP: all tensors through the LSTM, then each through the network."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp

from celo.lopt.accumulators import (
    Momentum,
    SecondMoment,
    init_momentum,
    init_second_moment,
    update_momentum,
    update_second_moment,
)
from celo.lopt.leaves import flatten_with, map_leaves, widen
from celo.lopt.optimizer import ThetaOptimizer
from celo.lopt.scheduler import tile_state
from celo.lopt.tensor_lstm import apply_network
from celo.protocol import ModelState, Params, PyTree, state_record
from celo.trees import cast_like
from celo_plugins.rnn_mlp_leaf import DECAYS, Leaf, Summary, iteration_inputs, leaf_step, summarise
from celo_plugins.rnn_mlp_losses import (
    DynamicClip,
    LossAverage,
    clip_dynamically,
    first_clip,
    loss_features,
    next_training_loss,
    next_validation_loss,
    no_losses,
)


@state_record
class RnnMlpState:
    """State of a run.

    Attributes:
      params: the parameters being trained.
      mom_rolling: momenta.
      rms_rolling: second moments.
      iteration: int32 (), updates done, those with validation losses included.
      state: the task's model state, carried untouched.
      lstm_hidden_state: hidden and cell, float32 (leaves, hidden size).
      from_mlp: for each leaf what the network last told the LSTM, float32 (from_mlp_size,).
      from_lstm: what the LSTM last told itself, float32 (from_lstm_size,).
      train_loss_accum: average of training losses.
      valid_loss_accum: average of validation losses.
      dynamic_clip: bound of the gradients.
    """

    params: Params
    mom_rolling: Momentum
    rms_rolling: SecondMoment
    iteration: jax.Array
    state: ModelState
    lstm_hidden_state: hk.LSTMState
    from_mlp: PyTree
    from_lstm: jax.Array
    train_loss_accum: LossAverage
    valid_loss_accum: LossAverage
    dynamic_clip: DynamicClip


class Networks(NamedTuple):
    """The networks on tensors.

    Attributes:
      lstm: one row for each tensor.
      to_mlp: from its output to what it says to the per-parameter network.
      to_lstm: from its output to what it says to itself.
    """

    lstm: hk.Transformed
    to_mlp: hk.Transformed
    to_lstm: hk.Transformed


@dataclasses.dataclass(frozen=True, eq=False)
class RnnMlpOptimizer(ThetaOptimizer):
    """RNN-MLP with given weights."""

    networks: Networks
    exp_mult: float | jax.Array
    step_mult: float | jax.Array

    reads = ("loss",)

    def first_state(self, params: Params, model_state: ModelState, num_steps: Any) -> RnnMlpState:
        from_mlp = jax.tree.map(lambda _: jnp.array(self.theta["initial_from_mlp"]), params)
        return RnnMlpState(
            params=params,
            mom_rolling=init_momentum(params, len(DECAYS)),
            rms_rolling=init_second_moment(params, len(DECAYS)),
            iteration=jnp.zeros((), jnp.int32),
            state=model_state,
            lstm_hidden_state=tile_state(
                self.theta["lstm_init_state"], len(jax.tree.leaves(params))
            ),
            from_mlp=from_mlp,
            from_lstm=jnp.array(self.theta["initial_from_lstm"]),
            train_loss_accum=no_losses(),
            valid_loss_accum=no_losses(),
            dynamic_clip=first_clip(),
        )

    def next_state(
        self, opt_state: RnnMlpState, grad: Params, loss: Any, model_state: Any, is_valid: Any
    ) -> RnnMlpState:
        if is_valid is None:
            return self._train(opt_state, grad, loss, model_state)

        def train() -> RnnMlpState:
            return cast_like(self._train(opt_state, grad, loss, model_state), opt_state)

        def validate() -> RnnMlpState:
            return dataclasses.replace(
                opt_state,
                iteration=opt_state.iteration + 1,
                valid_loss_accum=next_validation_loss(opt_state.valid_loss_accum, loss),
            )

        return jax.lax.cond(is_valid, lambda: cast_like(validate(), opt_state), train)

    def _train(
        self, opt_state: RnnMlpState, grad: Params, loss: jax.Array, model_state: ModelState
    ) -> RnnMlpState:
        losses = next_training_loss(opt_state.train_loss_accum, loss)
        clipped, clip = clip_dynamically(opt_state.dynamic_clip, jax.tree.map(widen, grad))
        momentum = update_momentum(opt_state.mom_rolling, clipped, DECAYS)
        second_moment = update_second_moment(opt_state.rms_rolling, clipped, DECAYS)
        structure = jax.tree.structure(grad)
        leaves = [
            Leaf(widen(p), *rest)
            for p, *rest in flatten_with(
                structure, opt_state.params, clipped, momentum.m, second_moment.rms
            )
        ]
        summaries = map_leaves(summarise, [(leaf,) for leaf in leaves])
        features = loss_features(losses, opt_state.valid_loss_accum, loss)
        from_mlp = structure.flatten_up_to(opt_state.from_mlp)
        inputs = jnp.stack(
            [
                jnp.concatenate([opt_state.from_lstm, told, s.first, features, s.last])
                for told, s in zip(from_mlp, summaries, strict=True)
            ]
        )
        hidden, lstm_state = apply_network(
            self.networks.lstm, self.theta["rnn_params"], inputs, opt_state.lstm_hidden_state
        )
        to_lstm = apply_network(self.networks.to_lstm, self.theta["rnn_to_in_params"], hidden)
        to_mlp = apply_network(self.networks.to_mlp, self.theta["rnn_to_ff_params"], hidden)
        iteration = iteration_inputs(opt_state.iteration, len(leaves))
        found = map_leaves(
            lambda *arguments: self._leaf_step(iteration, *arguments),
            [
                (leaf, s, to_mlp[i])
                for i, (leaf, s) in enumerate(zip(leaves, summaries, strict=True))
            ],
        )
        steps = structure.unflatten([step for step, _ in found])
        return RnnMlpState(
            params=jax.tree.map(jnp.subtract, opt_state.params, steps),
            mom_rolling=momentum,
            rms_rolling=second_moment,
            iteration=opt_state.iteration + 1,
            state=model_state,
            lstm_hidden_state=lstm_state,
            from_mlp=structure.unflatten([told for _, told in found]),
            from_lstm=jnp.mean(to_lstm, axis=0),
            train_loss_accum=losses,
            valid_loss_accum=opt_state.valid_loss_accum,
            dynamic_clip=clip,
        )

    def _leaf_step(
        self, iteration: jax.Array, leaf: Leaf, summary: Summary, from_lstm: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        network = self.theta["ffmod_params"]
        return leaf_step(
            leaf, summary, from_lstm, iteration, network, self.exp_mult, self.step_mult
        )
