"""RNN-MLP: an LSTM that sees every tensor and feeds a network that is applied to every parameter.

The two talk both ways: what the LSTM says of a tensor is an input of the network, and the network's
further outputs, averaged over the tensor, are inputs of the LSTM one step later.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from celo.lopt.scheduler import zero_state
from celo.lopt.tensor_lstm import init_lstm, linear_network, lstm_network
from celo.lopt.theta import CheckedLopt
from celo.lopt.wide_mlp import dense_network
from celo.protocol import MetaParams, PRNGKey
from celo_plugins.rnn_mlp_leaf import COLUMNS, CONSTANTS, LOSS_FEATURES, SUMMARIES
from celo_plugins.rnn_mlp_update import Networks, RnnMlpOptimizer


@dataclasses.dataclass(frozen=True)
class RnnMlpConfig:
    """Hyperparameters; the defaults are those of the published weights.

    Attributes:
      lstm_hidden_size: width of the LSTM.
      mlp_hidden_size: units of each hidden layer of the per-parameter network.
      mlp_hidden_layers: number of its hidden layers.
      from_mlp_size: numbers that the network tells the LSTM about each tensor.
      from_lstm_size: numbers that the LSTM tells itself about all tensors.
      lstm_to_ff_size: numbers that the LSTM tells the network about each tensor.
      exp_mult: factor of the output that scales a step exponentially.
      step_mult: factor of every step.
    """

    lstm_hidden_size: int = 64
    mlp_hidden_size: int = 32
    mlp_hidden_layers: int = 2
    from_mlp_size: int = 16
    from_lstm_size: int = 18
    lstm_to_ff_size: int = 17
    exp_mult: float | jax.Array = 0.001
    step_mult: float | jax.Array = 0.001

    @property
    def lstm_inputs(self) -> int:
        return self.from_lstm_size + self.from_mlp_size + SUMMARIES + LOSS_FEATURES

    @property
    def mlp_inputs(self) -> int:
        return COLUMNS + CONSTANTS + self.lstm_to_ff_size


class RnnMlp(CheckedLopt):
    """RNN-MLP with any weights."""

    def __init__(self, config: RnnMlpConfig | None = None):
        self.config = config or RnnMlpConfig()
        config = self.config
        hidden = (config.mlp_hidden_size,) * config.mlp_hidden_layers
        self.networks = Networks(
            lstm=lstm_network(config.lstm_hidden_size),
            to_mlp=linear_network(config.lstm_to_ff_size, "rnn_to_ff"),
            to_lstm=linear_network(config.from_lstm_size, "rnn_to_in"),
        )
        self.mlp = dense_network(hidden, 2 + config.from_mlp_size)

    @property
    def name(self) -> str:
        return "rnn-mlp-lopt"

    def init(self, key: PRNGKey) -> MetaParams:
        config, networks = self.config, self.networks
        from_lstm, from_mlp, lstm, to_mlp, to_lstm, mlp = jax.random.split(key, 6)
        hidden = jnp.zeros((1, config.lstm_hidden_size), jnp.float32)
        return {
            "initial_from_lstm": _initial(from_lstm, config.from_lstm_size),
            "initial_from_mlp": _initial(from_mlp, config.from_mlp_size),
            "lstm_init_state": zero_state(1, config.lstm_hidden_size),
            "rnn_params": init_lstm(
                networks.lstm, lstm, config.lstm_hidden_size, config.lstm_inputs
            ),
            "rnn_to_ff_params": networks.to_mlp.init(to_mlp, hidden),
            "rnn_to_in_params": networks.to_lstm.init(to_lstm, hidden),
            "ffmod_params": self.mlp.init(mlp, jnp.zeros((1, config.mlp_inputs), jnp.float32)),
        }

    def opt_fn(self, theta: MetaParams, is_training: bool = False) -> RnnMlpOptimizer:
        self.check(theta)
        return RnnMlpOptimizer(
            self.name, theta, self.networks, self.config.exp_mult, self.config.step_mult
        )


def _initial(key: PRNGKey, size: int) -> jax.Array:
    draw = hk.initializers.VarianceScaling(1.0, "fan_in", "truncated_normal")
    return hk.transform(lambda: draw((size,), jnp.float32)).apply({}, key)


def build(**hyperparameters: Any) -> RnnMlp:
    """RNN-MLP."""
    return RnnMlp(RnnMlpConfig(**hyperparameters))
