"""Hand-crafted optimizers whose steps have a size for every tensor."""

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
    weight_decay,
)

_MODULE = "handcrafted.layerwise"

FROMAGE = handcrafted(
    "fromage",
    "steps whose size is a fraction of a tensor's norm",
    "Bernstein et al. 2020, arXiv:2002.03432",
    lr(help="change of a tensor in a step, relative to its norm"),
    number("min_norm", 1e-6, "smallest norm of a tensor that is reckoned with"),
    module=_MODULE,
    # A rate is a relative change, so nothing above 1 makes sense.
    grid=LEARNING_RATES,
)

LARS = handcrafted(
    "lars",
    "momentum with steps relative to a tensor's norm",
    "You et al. 2017, arXiv:1708.03888",
    lr(),
    weight_decay(0.0),
    number("trust_coefficient", 1e-3, "factor of the ratio of a tensor's norm to its gradient's"),
    number("eps", 0.0, "added to the norm of a gradient"),
    momentum(0.9),
    NESTEROV,
    module=_MODULE,
    grid=half_decades(
        -4,
        "those of learned_optimization's baselines times 1000, which the trust coefficient of "
        "0.001 takes back; the paper's lie between 1 and 32",
    ),
)

LAMB = handcrafted(
    "lamb",
    "Adam with steps relative to a tensor's norm",
    "You et al. 2020, arXiv:1904.00962",
    lr(),
    B1,
    b2(),
    eps(1e-6),
    eps_root(0.0),
    weight_decay(0.0),
    module=_MODULE,
)

MUON = handcrafted(
    "muon",
    "orthogonalized momentum for matrices, Adam for the rest",
    "Jordan et al. 2024, Muon: An optimizer for hidden layers in neural networks",
    lr(0.02, "learning rate, of matrices and of the rest"),
    fraction("beta", 0.95, "decay of the momentum of matrices"),
    Hyperparameter("ns_steps", "int", 5, low=1, help="Newton-Schulz iterations"),
    eps(help="added where Newton-Schulz and Adam divide"),
    weight_decay(0.0),
    switch("nesterov", True, "Nesterov's form of momentum"),
    fraction("adam_b1", 0.9, "decay of Adam's first moment"),
    fraction("adam_b2", 0.999, "decay of Adam's second moment"),
    module=_MODULE,
    # One rate moves the matrices (0.02 in the paper) and, through Adam, everything else.
    grid=LEARNING_RATES,
)
