"""`celo.factory.get_optimizer`, so that scripts written for the published package run.

New code calls `celo.load` or `celo.load_learned` (`celo.api`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celo.loading import constructor, find

if TYPE_CHECKING:
    from celo.protocol import LearnedOptimizer, Optimizer

LEARNING_RATE = 1e-3
"""Of hand-crafted optimizers, as in the published package."""


def get_optimizer(name: str) -> LearnedOptimizer | Optimizer:
    """An optimizer by name, without weights.

    Args:
      name: as in the published package ("celo_phase1", "velo_s", "adamw", ...), or any text of
        `celo.load` without weights. Where a hand-crafted optimizer is given no learning rate, it is
        1e-3.

    Returns:
      A learned optimizer (`init(key)`, `opt_fn(theta)`) or a ready hand-crafted one.

    Raises:
      UsageError: unknown name or hyperparameter.
    """
    spec, found = find(name, complete=False)
    given = dict(spec.hyperparameters)
    if found.record.kind == "hand-crafted" and "lr" in {
        declared.name for declared in found.record.hyperparameters
    }:
        given = {"lr": LEARNING_RATE, **given}
    return constructor(spec, found)(**given)
