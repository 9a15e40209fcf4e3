"""Hand-crafted optimizers and the grids over which they are tuned."""

from __future__ import annotations

from celo.records import Grid, Hyperparameter, OptimizerPlugin

LEARNING_RATES = Grid(
    hyperparameter="lr",
    values=tuple(float(f"{m}e{k}") for k in range(-7, 0) for m in (1, 3)) + (1.0,),
    source="the 15 learning rates of learned_optimization's baselines: 1 and 3 times 10^k, and 1",
)

_LR = Hyperparameter("lr", "float", 1e-3, low=0.0, traceable=True, help="learning rate")
_B1 = Hyperparameter(
    "b1", "float", 0.9, low=0.0, high=1.0, traceable=True, help="decay of the first moment"
)
_B2 = Hyperparameter(
    "b2", "float", 0.999, low=0.0, high=1.0, traceable=True, help="decay of the second moment"
)
_EPS = Hyperparameter(
    "eps", "float", 1e-8, low=0.0, traceable=True, help="added to the root of the second moment"
)


def _eps_root(default: float) -> Hyperparameter:
    return Hyperparameter(
        "eps_root",
        "float",
        default,
        low=0.0,
        traceable=True,
        help="added to the second moment under the root",
    )


ADAM = OptimizerPlugin(
    name="adam",
    kind="hand-crafted",
    summary="Adam",
    build="celo_plugins.handcrafted:adam",
    citation="Kingma & Ba 2015, arXiv:1412.6980",
    hyperparameters=(_LR, _B1, _B2, _EPS, _eps_root(1e-8)),
    grid=LEARNING_RATES,
)

ADAMW = OptimizerPlugin(
    name="adamw",
    kind="hand-crafted",
    summary="Adam with decoupled weight decay",
    build="celo_plugins.handcrafted:adamw",
    citation="Loshchilov & Hutter 2019, arXiv:1711.05101",
    hyperparameters=(
        _LR,
        _B1,
        _B2,
        _EPS,
        _eps_root(0.0),
        Hyperparameter(
            "weight_decay",
            "float",
            1e-4,
            low=0.0,
            traceable=True,
            help="fraction of a parameter, times lr, taken away each step",
        ),
    ),
    grid=LEARNING_RATES,
)

SGD = OptimizerPlugin(
    name="sgd",
    kind="hand-crafted",
    summary="gradient descent",
    build="celo_plugins.handcrafted:sgd",
    hyperparameters=(_LR,),
    grid=LEARNING_RATES,
)

SGDM = OptimizerPlugin(
    name="sgdm",
    kind="hand-crafted",
    summary="gradient descent with momentum",
    build="celo_plugins.handcrafted:sgdm",
    citation="Sutskever et al. 2013, On the importance of initialization and momentum",
    hyperparameters=(
        _LR,
        Hyperparameter(
            "momentum",
            "float",
            0.9,
            low=0.0,
            high=1.0,
            traceable=True,
            help="decay of the gradient buffer",
        ),
        Hyperparameter("nesterov", "bool", False, help="Nesterov's form of momentum"),
    ),
    grid=LEARNING_RATES,
)
