"""NN-Adam: Adam whose hyperparameters an LSTM adjusts, for each tensor and at every step."""

from __future__ import annotations

import dataclasses
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from celo.lopt.leaves import clip_gradients, flatten_with, widen, zeros_alike
from celo.lopt.optimizer import ThetaOptimizer
from celo.lopt.scheduler import tile_state, zero_state
from celo.lopt.tensor_lstm import (
    apply_network,
    init_lstm,
    linear_network,
    lstm_network,
)
from celo.lopt.theta import CheckedLopt
from celo.protocol import (
    MetaParams,
    ModelState,
    Params,
    PRNGKey,
    PyTree,
    state_record,
)
from celo_plugins.nn_adam_tensor import (
    LSTM_INPUTS,
    AdamValues,
    Tensor,
    adam_tensor,
    decode,
    encode,
    lstm_inputs,
    tensor_features,
)


@dataclasses.dataclass(frozen=True)
class NnAdamConfig:
    """Hyperparameters; the defaults are those of the published optimizer of this name.

    Attributes:
      lstm_hidden_size: width of the LSTM.
      output_scale: factor of the LSTM's changes.
      decay_strength: fraction of the way back to the initial values, every step.
      initial_lr: learning rate that random weights start from.
      initial_beta1: decay of the momentum that random weights start from.
      initial_beta2: decay of the second moment that random weights start from.
      initial_epsilon: epsilon that random weights start from.
    """

    lstm_hidden_size: int = 64
    output_scale: float | jax.Array = 0.01
    decay_strength: float | jax.Array = 0.0
    initial_lr: float = 1e-4
    initial_beta1: float = 0.9
    initial_beta2: float = 0.999
    initial_epsilon: float = 1e-8


@state_record
class Moments:
    """Momentum and second moment.

    Attributes:
      m: like the parameters.
      rms: like the parameters.
      t: int32 (), updates; kept because published states have it, never read.
    """

    m: PyTree
    rms: PyTree
    t: jax.Array


@state_record
class NnAdamState:
    """State of a run; the hyperparameters are encoded as theta has them, one scalar a leaf.

    Attributes:
      params: the parameters being trained.
      state: the task's model state, carried untouched.
      iteration: int32 (), updates done.
      rolling_features: moments of the gradients.
      per_layer_lr: learning rates.
      per_layer_beta1: decays of the momentum.
      per_layer_beta2: decays of the second moment.
      per_layer_epsilon: epsilons.
      lstm_hidden_state: hidden and cell, float32 (leaves, hidden size).
    """

    params: Params
    state: ModelState
    iteration: jax.Array
    rolling_features: Moments
    per_layer_lr: PyTree
    per_layer_beta1: PyTree
    per_layer_beta2: PyTree
    per_layer_epsilon: PyTree
    lstm_hidden_state: hk.LSTMState


class NnAdam(CheckedLopt):
    """NN-Adam with any weights."""

    def __init__(self, config: NnAdamConfig | None = None):
        self.config = config or NnAdamConfig()
        self.lstm = lstm_network(self.config.lstm_hidden_size)
        self.controls = linear_network(len(AdamValues._fields), "rnn_to_controls", zeros=True)

    @property
    def name(self) -> str:
        return "nn-adam"

    def init(self, key: PRNGKey) -> MetaParams:
        config = self.config
        initial = encode(
            AdamValues(
                lr=jnp.float32(config.initial_lr),
                beta1=jnp.float32(config.initial_beta1),
                beta2=jnp.float32(config.initial_beta2),
                epsilon=jnp.float32(config.initial_epsilon),
            )
        )
        _, lstm, controls = jax.random.split(key, 3)
        hidden = jnp.zeros((1, config.lstm_hidden_size), jnp.float32)
        return {
            "lstm_init_state": zero_state(1, config.lstm_hidden_size),
            "rnn_params": init_lstm(self.lstm, lstm, config.lstm_hidden_size, LSTM_INPUTS),
            "rnn_to_controls_params": self.controls.init(controls, hidden),
            **{f"per_layer_{name}": value for name, value in initial._asdict().items()},
        }

    def opt_fn(self, theta: MetaParams, is_training: bool = False) -> NnAdamOptimizer:
        self.check(theta)
        return NnAdamOptimizer(self.name, theta, self)


@dataclasses.dataclass(frozen=True, eq=False)
class NnAdamOptimizer(ThetaOptimizer):
    """NN-Adam with given weights."""

    lopt: NnAdam

    reads = ("num_steps",)

    def first_state(self, params: Params, model_state: ModelState, num_steps: Any) -> NnAdamState:
        def everywhere(value: jax.Array) -> PyTree:
            return jax.tree.map(lambda _: jnp.array(value, jnp.float32), params)

        values = initial_values(self.theta)
        return NnAdamState(
            params=params,
            state=model_state,
            iteration=jnp.zeros((), jnp.int32),
            rolling_features=Moments(
                m=jax.tree.map(zeros_alike, params),
                rms=jax.tree.map(zeros_alike, params),
                t=jnp.zeros((), jnp.int32),
            ),
            per_layer_lr=everywhere(values.lr),
            per_layer_beta1=everywhere(values.beta1),
            per_layer_beta2=everywhere(values.beta2),
            per_layer_epsilon=everywhere(values.epsilon),
            lstm_hidden_state=tile_state(
                self.theta["lstm_init_state"], len(jax.tree.leaves(params))
            ),
        )

    def next_state(
        self, opt_state: NnAdamState, grad: Params, loss: Any, model_state: Any, is_valid: Any
    ) -> NnAdamState:
        structure = jax.tree.structure(grad)
        encoded = _stacked_values(opt_state)
        decoded = decode(encoded)
        rolling = opt_state.rolling_features
        new = []
        for i, (p, g, m, rms) in enumerate(
            flatten_with(structure, opt_state.params, clip_gradients(grad), rolling.m, rolling.rms)
        ):
            values = AdamValues(*(value[i] for value in decoded))
            new.append(adam_tensor(Tensor(widen(p), g, m, rms), values))
        # The step is taken with what was decided one step before.
        features = jnp.stack([tensor_features(tensor) for tensor, _ in new])
        encoded, lstm_state = self._adjust(encoded, features, opt_state.lstm_hidden_state)

        def leaves(stacked: jax.Array) -> PyTree:
            return structure.unflatten(list(stacked))

        return NnAdamState(
            params=structure.unflatten([p for _, p in new]),
            state=model_state,
            iteration=opt_state.iteration + 1,
            rolling_features=Moments(
                m=structure.unflatten([tensor.m for tensor, _ in new]),
                rms=structure.unflatten([tensor.rms for tensor, _ in new]),
                t=rolling.t + 1,
            ),
            per_layer_lr=leaves(encoded.lr),
            per_layer_beta1=leaves(encoded.beta1),
            per_layer_beta2=leaves(encoded.beta2),
            per_layer_epsilon=leaves(encoded.epsilon),
            lstm_hidden_state=lstm_state,
        )

    def _adjust(
        self, encoded: AdamValues, features: jax.Array, lstm_state: hk.LSTMState
    ) -> tuple[AdamValues, hk.LSTMState]:
        """The hyperparameters of the next step, all fields (leaves,)."""
        config, theta = self.lopt.config, self.theta
        inputs = lstm_inputs(encoded, features)
        hidden, lstm_state = apply_network(self.lopt.lstm, theta["rnn_params"], inputs, lstm_state)
        controls = apply_network(self.lopt.controls, theta["rnn_to_controls_params"], hidden)
        moved = []
        for i, (value, initial) in enumerate(zip(encoded, initial_values(theta), strict=True)):
            value = value + config.output_scale * controls[:, i]
            moved.append(value - config.decay_strength * (value - initial))
        # There and back: this clips, and rounds the decays as the published code does.
        return encode(decode(AdamValues(*moved))), lstm_state


def initial_values(theta: MetaParams) -> AdamValues:
    """The encoded hyperparameters that theta starts a run with, scalars."""
    return AdamValues(*(theta[f"per_layer_{name}"] for name in AdamValues._fields))


def _stacked_values(opt_state: NnAdamState) -> AdamValues:
    """The encoded hyperparameters of all leaves, (leaves,) each."""
    trees = (getattr(opt_state, f"per_layer_{name}") for name in AdamValues._fields)
    return AdamValues(*(jnp.stack(jax.tree.leaves(tree)) for tree in trees))


def build(**hyperparameters: Any) -> NnAdam:
    """NN-Adam."""
    return NnAdam(NnAdamConfig(**hyperparameters))
