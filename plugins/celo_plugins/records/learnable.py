"""Optimizers whose hyperparameters are learned: by theta itself, or by an LSTM."""

from __future__ import annotations

from celo.records import Hyperparameter, OptimizerPlugin, Phase


def _initial(name: str, default: float, what: str) -> Hyperparameter:
    high = 1.0 if name.endswith(("beta1", "beta2", "momentum")) else None
    return Hyperparameter(
        f"initial_{name}", "float", default, low=0.0, high=high, help=f"{what} of untrained weights"
    )


_LIBRARY = (
    "learnable baselines of learned_optimization, the library of Metz et al. 2022, arXiv:2203.11860"
)
_LR = "learning rate"
_BETA1 = "decay of the first moment"
_BETA2 = "decay of the second moment"
_EPSILON = "epsilon"
_PHASES = (Phase(1, (), "learn the hyperparameters"),)

NN_ADAM = OptimizerPlugin(
    name="nn-adam",
    kind="learned",
    summary="Adam whose hyperparameters an LSTM adjusts for each tensor",
    build="celo_plugins.nn_adam:build",
    page="celo_plugins:pages/nn-adam.toml",
    aliases=("nnadam",),
    citation="Metz et al. 2020, Using a thousand optimization tasks to learn hyperparameter "
    "search strategies, arXiv:2002.11887",
    hyperparameters=(
        Hyperparameter(
            "lstm_hidden_size", "int", 64, low=1, help="units of the LSTM; fixed by the weights"
        ),
        Hyperparameter(
            "output_scale", "float", 0.01, traceable=True, help="factor of the LSTM's changes"
        ),
        Hyperparameter(
            "decay_strength",
            "float",
            0.0,
            low=0.0,
            high=1.0,
            traceable=True,
            help="fraction of the way back to the initial values, every step",
        ),
        _initial("lr", 1e-4, _LR),
        _initial("beta1", 0.9, _BETA1),
        _initial("beta2", 0.999, _BETA2),
        _initial("epsilon", 1e-8, _EPSILON),
    ),
    reads=("num_steps",),
    phases=(Phase(1, (), "learn everything at once"),),
)

LEARNABLE_SGD = OptimizerPlugin(
    name="learnable-sgd",
    kind="learned",
    summary="gradient descent with a learned learning rate",
    build="celo_plugins.learnable:build_sgd",
    page="celo_plugins:pages/learnable-sgd.toml",
    citation=_LIBRARY,
    hyperparameters=(_initial("lr", 0.01, _LR),),
    phases=_PHASES,
)

LEARNABLE_SGDM = OptimizerPlugin(
    name="learnable-sgdm",
    kind="learned",
    summary="gradient descent with learned momentum and learning rate",
    build="celo_plugins.learnable:build_sgdm",
    page="celo_plugins:pages/learnable-sgdm.toml",
    citation=_LIBRARY,
    hyperparameters=(
        _initial("lr", 0.01, _LR),
        _initial("momentum", 0.9, "decay of the gradient buffer"),
    ),
    phases=_PHASES,
)

LEARNABLE_ADAM = OptimizerPlugin(
    name="learnable-adam",
    kind="learned",
    summary="Adam with four learned hyperparameters",
    build="celo_plugins.learnable:build_adam",
    page="celo_plugins:pages/learnable-adam.toml",
    citation=_LIBRARY,
    hyperparameters=(
        _initial("lr", 1e-3, _LR),
        _initial("beta1", 0.9, _BETA1),
        _initial("beta2", 0.999, _BETA2),
        _initial("epsilon", 1e-8, _EPSILON),
    ),
    phases=_PHASES,
)
