"""RNN-MLP, Adafac-MLP and MLP-LOpt: a network applied to every parameter."""

from __future__ import annotations

from celo.records import Hyperparameter, OptimizerPlugin, Phase

_PHASES = (Phase(1, (), "learn everything at once"),)
_MULTIPLIERS = (
    Hyperparameter(
        "exp_mult",
        "float",
        0.001,
        traceable=True,
        help="factor of the output that scales a step exponentially",
    ),
    Hyperparameter(
        "step_mult", "float", 0.001, low=0.0, traceable=True, help="factor of every step"
    ),
)


def _size(name: str, default: int, help: str) -> Hyperparameter:
    return Hyperparameter(name, "int", default, low=1, help=f"{help}; fixed by the weights")


def _network(units: int) -> tuple[Hyperparameter, ...]:
    return (
        _size("hidden_size", units, "units of each hidden layer"),
        _size("hidden_layers", 2, "number of hidden layers"),
        *_MULTIPLIERS,
    )


RNN_MLP = OptimizerPlugin(
    name="rnn-mlp-lopt",
    kind="learned",
    numerics_version=2,
    summary="LSTM on every tensor that feeds a network on every parameter",
    build="celo_plugins.rnn_mlp:build",
    page="celo_plugins:pages/rnn-mlp-lopt.toml",
    aliases=("rnn-mlp",),
    citation="Metz et al. 2020, Tasks, stability, architecture, and compute, arXiv:2009.11243",
    hyperparameters=(
        _size("lstm_hidden_size", 64, "units of the LSTM"),
        _size("mlp_hidden_size", 32, "units of each hidden layer of the network"),
        _size("mlp_hidden_layers", 2, "number of hidden layers of the network"),
        _size("from_mlp_size", 16, "numbers from the network to the LSTM"),
        _size("from_lstm_size", 18, "numbers from the LSTM to itself, over all tensors"),
        _size("lstm_to_ff_size", 17, "numbers from the LSTM to the network"),
        *_MULTIPLIERS,
    ),
    reads=("loss",),
    zoo_id="rnn-mlp-lopt",
    phases=_PHASES,
)

ADAFAC_MLP = OptimizerPlugin(
    name="adafac-mlp-lopt",
    kind="learned",
    summary="small network on Adafactor-like features of every parameter",
    build="celo_plugins.adafac_mlp:build",
    page="celo_plugins:pages/adafac-mlp-lopt.toml",
    aliases=("adafac-mlp",),
    citation="Metz et al. 2022, Practical tradeoffs between memory, compute, and performance in "
    "learned optimizers, arXiv:2203.11860",
    hyperparameters=_network(4),
    reads=("num_steps",),
    zoo_id="adafac-mlp-lopt",
    phases=_PHASES,
    numerics_version=2,
)

MLP_LOPT = OptimizerPlugin(
    name="mlp-lopt",
    kind="learned",
    numerics_version=2,
    summary="network on gradients, momenta and the step count of every parameter",
    build="celo_plugins.mlp_lopt:build",
    page="celo_plugins:pages/mlp-lopt.toml",
    citation="Metz et al. 2019, Understanding and correcting pathologies in the training of "
    "learned optimizers, arXiv:1810.10180",
    hyperparameters=_network(32),
    phases=_PHASES,
)
