"""Hand-crafted optimizers with a rate for every parameter, Adam's relatives."""

from __future__ import annotations

from celo.records import Hyperparameter
from celo_plugins.records.handcrafted import (
    B1,
    LEARNING_RATES,
    NESTEROV,
    b2,
    eps,
    eps_root,
    fraction,
    half_decades,
    handcrafted,
    lr,
    momentum,
    number,
    switch,
)

_MODULE = "handcrafted.adaptive"
_SUMMED = half_decades(
    -6,
    "those of learned_optimization's baselines times 10: the sum of all squared gradients makes "
    "steps ever smaller, so the best rates are larger (0.01 to 1 in the papers)",
)

RMSPROP = handcrafted(
    "rmsprop",
    "gradient descent divided by a running root mean square",
    "Tieleman & Hinton 2012, Lecture 6.5",
    lr(),
    fraction("decay", 0.9, "decay of the second moment"),
    eps(help="added to the second moment under the root"),
    momentum(0.0),
    NESTEROV,
    module=_MODULE,
    grid=LEARNING_RATES,
)

ADAGRAD = handcrafted(
    "adagrad",
    "gradient descent divided by the root of the sum of squares",
    "Duchi et al. 2011, Adaptive Subgradient Methods",
    lr(),
    number("initial_accumulator_value", 0.1, "what the sum of squares starts from"),
    eps(1e-7, "added to the sum under the root"),
    module=_MODULE,
    grid=_SUMMED,
)

SM3 = handcrafted(
    "sm3",
    "AdaGrad with one accumulator for every row and column",
    "Anil et al. 2019, arXiv:1901.11150",
    lr(),
    momentum(0.9),
    Hyperparameter("b2", "float", 1.0, low=0.0, high=1.0, help="decay of the accumulators; 1 sums"),
    eps(),
    module=_MODULE,
    grid=_SUMMED,
)

ADABELIEF = handcrafted(
    "adabelief",
    "Adam divided by the gradient's deviation from its mean",
    "Zhuang et al. 2020, arXiv:2010.07468",
    lr(),
    B1,
    b2(),
    eps(1e-16),
    eps_root(1e-16),
    module=_MODULE,
)

YOGI = handcrafted(
    "yogi",
    "Adam whose second moment changes additively",
    "Zaheer et al. 2018, Adaptive Methods for Nonconvex Optimization",
    lr(),
    B1,
    b2(),
    eps(1e-3),
    module=_MODULE,
)

RADAM = handcrafted(
    "radam",
    "Adam with a rectified variance at the start",
    "Liu et al. 2020, arXiv:1908.03265",
    lr(),
    B1,
    b2(),
    eps(),
    eps_root(0.0),
    number("threshold", 5.0, "length of the moving average from which it is adaptive"),
    module=_MODULE,
)

ADAFACTOR = handcrafted(
    "adafactor",
    "Adam with a factored second moment and relative steps",
    "Shazeer & Stern 2018, arXiv:1804.04235",
    lr(),
    Hyperparameter(
        "min_dim_size_to_factor",
        "int",
        128,
        low=1,
        help="matrices with a smaller side are not factored",
    ),
    number("decay_rate", 0.8, "exponent by which the second moment's decay approaches 1"),
    Hyperparameter("decay_offset", "int", 0, low=0, help="steps done before, for that decay"),
    switch("multiply_by_parameter_scale", True, "steps are relative to the size of a tensor"),
    number("clipping_threshold", 1.0, "largest root mean square of a tensor's direction"),
    Hyperparameter(
        "momentum", "float", 0.0, low=0.0, high=1.0, help="decay of a first moment; 0 for none"
    ),
    Hyperparameter(
        "weight_decay_rate",
        "float",
        0.0,
        low=0.0,
        help="fraction of a parameter taken away each step, not times lr",
    ),
    number("eps", 1e-30, "added to squared gradients"),
    switch("factored", True, "whether second moments are factored at all"),
    module=_MODULE,
)
