"""Hand-crafted optimizers that optax has, with the defaults of the published baselines."""

from celo_plugins.handcrafted.adaptive import (
    adabelief,
    adafactor,
    adagrad,
    radam,
    rmsprop,
    sm3,
    yogi,
)
from celo_plugins.handcrafted.descent import adam, adamw, sgd, sgdm
from celo_plugins.handcrafted.layerwise import fromage, lamb, lars, muon
from celo_plugins.handcrafted.recent import lion, prodigy, schedule_free_adamw

__all__ = [
    "adabelief",
    "adafactor",
    "adagrad",
    "adam",
    "adamw",
    "fromage",
    "lamb",
    "lars",
    "lion",
    "muon",
    "prodigy",
    "radam",
    "rmsprop",
    "schedule_free_adamw",
    "sgd",
    "sgdm",
    "sm3",
    "yogi",
]
