"""Hand-crafted optimizers: what their declarations share, and descent and Adam.

All grids have the same size, so that no optimizer is tuned harder than another.
"""

from __future__ import annotations

from celo.records import LEARNING_RATE_SCHEDULE, Grid, Hyperparameter, OptimizerPlugin


def half_decades(smallest: int, source: str) -> Grid:
    """15 learning rates: 1 and 3 times powers of ten, from 10^smallest to 10^(smallest + 7).

    Args:
      smallest: exponent of the first value.
      source: where the choice comes from.
    """
    below = tuple(float(f"{m}e{k}") for k in range(smallest, smallest + 7) for m in (1, 3))
    return Grid("lr", (*below, float(f"1e{smallest + 7}")), source)


LEARNING_RATES = half_decades(
    -7, "the 15 learning rates of learned_optimization's baselines: 1 and 3 times 10^k, and 1"
)


def number(name: str, default: float, help: str, low: float | None = 0.0) -> Hyperparameter:
    """A number that may be traced."""
    return Hyperparameter(name, "float", default, low=low, traceable=True, help=help)


def fraction(name: str, default: float, help: str) -> Hyperparameter:
    """A number between 0 and 1 that may be traced."""
    return Hyperparameter(name, "float", default, low=0.0, high=1.0, traceable=True, help=help)


def switch(name: str, default: bool, help: str) -> Hyperparameter:
    return Hyperparameter(name, "bool", default, help=help)


def lr(default: float = 1e-3, help: str = "learning rate") -> Hyperparameter:
    return number("lr", default, help)


def b2(default: float = 0.999) -> Hyperparameter:
    return fraction("b2", default, "decay of the second moment")


def eps(default: float = 1e-8, help: str = "added to the root of the moment") -> Hyperparameter:
    return number("eps", default, help)


def eps_root(default: float) -> Hyperparameter:
    return number("eps_root", default, "added to the second moment under the root")


def weight_decay(default: float) -> Hyperparameter:
    return number(
        "weight_decay", default, "fraction of a parameter, times lr, taken away each step"
    )


def momentum(default: float) -> Hyperparameter:
    return fraction("momentum", default, "decay of the gradient buffer")


B1 = fraction("b1", 0.9, "decay of the first moment")
NESTEROV = switch("nesterov", False, "Nesterov's form of momentum")


def handcrafted(
    name: str,
    summary: str,
    citation: str,
    *hyperparameters: Hyperparameter,
    module: str,
    grid: Grid | None = LEARNING_RATES,
) -> OptimizerPlugin:
    """The record of an optimizer made by the function of its name in `celo_plugins.<module>`.

    Args:
      name: canonical name.
      summary: one line.
      citation: paper.
      *hyperparameters: its own; the schedules of the learning rate are added.
      module: where it is made.
      grid: what it is tuned over.
    """
    return OptimizerPlugin(
        name=name,
        kind="hand-crafted",
        summary=summary,
        build=f"celo_plugins.{module}:{name.replace('-', '_')}",
        citation=citation,
        hyperparameters=(*hyperparameters, *LEARNING_RATE_SCHEDULE),
        grid=grid,
        page=f"celo_plugins:pages/{name}.toml",
    )


SGD = handcrafted(
    "sgd",
    "gradient descent",
    "Robbins & Monro 1951, A Stochastic Approximation Method",
    lr(),
    module="handcrafted.descent",
)

SGDM = handcrafted(
    "sgdm",
    "gradient descent with momentum",
    "Sutskever et al. 2013, On the importance of initialization and momentum",
    lr(),
    momentum(0.9),
    NESTEROV,
    module="handcrafted.descent",
)

ADAM = handcrafted(
    "adam",
    "Adam",
    "Kingma & Ba 2015, arXiv:1412.6980",
    lr(),
    B1,
    b2(),
    eps(),
    eps_root(1e-8),
    module="handcrafted.descent",
)

ADAMW = handcrafted(
    "adamw",
    "Adam with decoupled weight decay",
    "Loshchilov & Hutter 2019, arXiv:1711.05101",
    lr(),
    B1,
    b2(),
    eps(),
    eps_root(0.0),
    weight_decay(1e-4),
    module="handcrafted.descent",
)
