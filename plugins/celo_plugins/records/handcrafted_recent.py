"""Hand-crafted optimizers of recent years: signs, averages, estimated rates."""

from __future__ import annotations

from celo.records import Grid, Hyperparameter
from celo_plugins.records.handcrafted import (
    B1,
    b2,
    eps,
    fraction,
    half_decades,
    handcrafted,
    lr,
    number,
    switch,
    weight_decay,
)

_MODULE = "handcrafted.recent"

LION = handcrafted(
    "lion",
    "sign of an interpolated momentum",
    "Chen et al. 2023, arXiv:2302.06675",
    lr(1e-4),
    fraction("b1", 0.9, "share of the momentum in a step"),
    fraction("b2", 0.99, "decay of the momentum"),
    weight_decay(1e-3),
    module=_MODULE,
    grid=half_decades(
        -8,
        "those of learned_optimization's baselines divided by 10: the paper (section 5) finds the "
        "best rates 3 to 10 times smaller than AdamW's",
    ),
)

SCHEDULE_FREE_ADAMW = handcrafted(
    "schedule-free-adamw",
    "AdamW that averages its iterates instead of lowering its rate",
    "Defazio et al. 2024, arXiv:2405.15682",
    lr(2.5e-3),
    Hyperparameter("warmup_steps", "int", 0, low=0, help="steps of a linear ramp to lr"),
    Hyperparameter(
        "b1", "float", 0.9, low=1e-3, high=1.0, traceable=True, help="share of the average"
    ),
    b2(),
    eps(),
    weight_decay(0.0),
    number("weight_lr_power", 2.0, "an iterate weighs lr to this power in the average"),
    module=_MODULE,
)

PRODIGY = handcrafted(
    "prodigy",
    "Adam that estimates its learning rate",
    "Mishchenko & Defazio 2024, arXiv:2306.06101",
    lr(1.0, "factor of the estimated learning rate"),
    B1,
    b2(),
    eps(),
    number("estim_lr0", 1e-6, "first estimate of the learning rate", low=1e-30),
    number("estim_lr_coef", 1.0, "factor of later estimates"),
    weight_decay(0.0),
    switch("safeguard_warmup", False, "estimates do not depend on lr"),
    module=_MODULE,
    grid=Grid(
        "lr",
        tuple(2.0**k for k in range(-7, 8)),
        "powers of 2 around 1: lr multiplies an estimated rate, and the paper runs all with 1",
    ),
)
