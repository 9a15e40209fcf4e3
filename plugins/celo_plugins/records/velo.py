"""VeLO in its three published configurations."""

from __future__ import annotations

from celo.records import Hyperparameter, OptimizerPlugin, Phase
from celo_plugins.records.celo import EXP_MULT, STEP_MULT

_VELO_PAPER = (
    "Metz et al. 2022, VeLO: Training Versatile Learned Optimizers by Scaling Up, arXiv:2211.09760"
)
_PHASES = (Phase(1, (), "learn the scheduler and the per-parameter networks together"),)


def _hyperparameters(
    lstm_hidden_size: int, param_inits: int, ff_mult: float
) -> tuple[Hyperparameter, ...]:
    return (
        Hyperparameter(
            "lstm_hidden_size",
            "int",
            lstm_hidden_size,
            low=1,
            help="units of the scheduler; fixed by the weights",
        ),
        Hyperparameter(
            "param_inits",
            "int",
            param_inits,
            low=1,
            help="copies of the network; fixed by the weights",
        ),
        Hyperparameter(
            "ff_mult",
            "float",
            ff_mult,
            traceable=True,
            help="factor of the mixed network's weights; fixed by the weights",
        ),
        EXP_MULT,
        STEP_MULT,
        Hyperparameter(
            "use_bugged_next_lstm_state",
            "bool",
            False,
            help="the scheduler forgets what it saw; for weights trained so",
        ),
        Hyperparameter(
            "use_bugged_loss_features",
            "bool",
            False,
            help="averages of the loss as in a run of 10 steps; for weights trained so",
        ),
    )


VELO_S = OptimizerPlugin(
    name="velo-s",
    kind="learned",
    summary="VeLO, small: an LSTM of 64 units that mixes 32 networks for each tensor",
    build="celo_plugins.velo:build_s",
    page="celo_plugins:pages/velo-s.toml",
    citation=_VELO_PAPER,
    hyperparameters=_hyperparameters(lstm_hidden_size=64, param_inits=32, ff_mult=1.0),
    reads=("num_steps", "loss"),
    zoo_id="velo-s",
    phases=_PHASES,
    numerics_version=2,
)

VELO = OptimizerPlugin(
    name="velo",
    kind="learned",
    summary="VeLO: an LSTM of 512 units that mixes 256 networks for each tensor",
    build="celo_plugins.velo:build",
    page="celo_plugins:pages/velo.toml",
    citation=_VELO_PAPER,
    hyperparameters=_hyperparameters(lstm_hidden_size=512, param_inits=256, ff_mult=1.0),
    reads=("num_steps", "loss"),
    phases=_PHASES,
    numerics_version=2,
)

VELO_4000 = OptimizerPlugin(
    name="velo-4000",
    kind="learned",
    summary="VeLO as the published weights need it: the mixed networks count a hundredfold",
    build="celo_plugins.velo:build_4000",
    page="celo_plugins:pages/velo-4000.toml",
    citation=_VELO_PAPER,
    hyperparameters=_hyperparameters(lstm_hidden_size=512, param_inits=256, ff_mult=100.0),
    reads=("num_steps", "loss"),
    zoo_id="velo-4000",
    phases=_PHASES,
    numerics_version=2,
)
