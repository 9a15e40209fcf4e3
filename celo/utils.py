"""`celo.utils.init_lopt_from_ckpt`, so that scripts written for the published package run.

New code calls `celo.load("NAME@PATH")` (`celo.api`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from celo.lopt import theta_from_tree
from celo_zoo import load_weights

if TYPE_CHECKING:
    from celo.protocol import LearnedOptimizer, Optimizer


def init_lopt_from_ckpt(lopt: LearnedOptimizer, path: str | os.PathLike[str]) -> Optimizer:
    """A learned optimizer with the weights of a file.

    Args:
      lopt: from `celo.factory.get_optimizer`, or one of learned_optimization.
      path: a `theta.state`, or whatever may stand behind `@`.

    Raises:
      WeightsError: they are missing, damaged or another optimizer's.
    """
    return lopt.opt_fn(theta_from_tree(lopt, load_weights(os.fspath(path)).tree))
