"""Celo, its first phase, and Celo-Adam."""

from __future__ import annotations

from dataclasses import replace

from celo.records import Hyperparameter, OptimizerPlugin, Phase

_CELO_PAPER = "Moudgil et al. 2025, Celo: Training Versatile Learned Optimizers, arXiv:2501.12670"

_LSTM_HIDDEN_SIZE = Hyperparameter(
    "lstm_hidden_size", "int", 64, low=1, help="units of the scheduler; fixed by the weights"
)
STEP_MULT = Hyperparameter(
    "step_mult", "float", 0.001, low=0.0, traceable=True, help="factor of every step"
)
EXP_MULT = Hyperparameter(
    "exp_mult",
    "float",
    0.001,
    traceable=True,
    help="factor of the output that scales a step exponentially",
)
_CELO_HYPERPARAMETERS = (
    _LSTM_HIDDEN_SIZE,
    Hyperparameter(
        "param_inits", "int", 1, low=1, help="copies of the network; fixed by the weights"
    ),
    EXP_MULT,
    STEP_MULT,
)
_CELO_PHASES = (
    Phase(
        1,
        ("lstm_init_state", "rnn_params"),
        "learn the per-parameter network",
        hyperparameters={"train_phase": 1},
    ),
    Phase(2, ("ff_mod_stack",), "learn the scheduler, starting from the weights of phase 1"),
)

CELO = OptimizerPlugin(
    name="celo",
    kind="learned",
    summary="per-parameter network whose steps an LSTM scheduler rescales",
    build="celo_plugins.celo:build",
    page="celo_plugins:pages/celo.toml",
    citation=_CELO_PAPER,
    hyperparameters=(
        *_CELO_HYPERPARAMETERS,
        Hyperparameter(
            "train_phase", "int", 2, low=1, high=2, help="1: the scheduler is not applied"
        ),
    ),
    reads=("num_steps", "loss"),
    zoo_id="celo",
    phases=_CELO_PHASES,
    numerics_version=2,
)

CELO_PHASE1 = OptimizerPlugin(
    name="celo-phase1",
    kind="learned",
    summary="Celo without its scheduler's output, as in the first stage of meta-training",
    build="celo_plugins.celo:build_phase1",
    page="celo_plugins:pages/celo-phase1.toml",
    citation=_CELO_PAPER,
    hyperparameters=_CELO_HYPERPARAMETERS,
    reads=("num_steps", "loss"),
    zoo_id="celo",
    phases=(replace(_CELO_PHASES[0], hyperparameters={}),),
    numerics_version=2,
)

CELO_ADAM = OptimizerPlugin(
    name="celo-adam",
    kind="learned",
    summary="Adam whose learning rate is Celo's LSTM scheduler",
    build="celo_plugins.celo_adam:build",
    page="celo_plugins:pages/celo-adam.toml",
    citation=_CELO_PAPER,
    hyperparameters=(
        _LSTM_HIDDEN_SIZE,
        STEP_MULT,
        Hyperparameter(
            "eps", "float", 1e-8, low=0.0, traceable=True, help="added to the root of the moment"
        ),
    ),
    reads=("num_steps", "loss"),
    zoo_id="celo-adam",
    phases=(Phase(1, (), "learn the scheduler"),),
)
