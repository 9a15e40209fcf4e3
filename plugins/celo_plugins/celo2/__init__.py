"""Celo2 and Celo2-base, as learned optimizers and as optax transformations."""

from celo_plugins.celo2.base import Celo2Base, Celo2BaseConfig
from celo_plugins.celo2.optimizer import (
    Celo2,
    Celo2Config,
    Celo2Optimizer,
    Celo2State,
    build,
    leaf_paths,
    split_leaves,
)
from celo_plugins.celo2.transformations import load_checkpoint, scale_by_adam, scale_by_celo2

__all__ = [
    "Celo2",
    "Celo2Base",
    "Celo2BaseConfig",
    "Celo2Config",
    "Celo2Optimizer",
    "Celo2State",
    "build",
    "leaf_paths",
    "load_checkpoint",
    "scale_by_adam",
    "scale_by_celo2",
    "split_leaves",
]
