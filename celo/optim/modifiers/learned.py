"""Modifiers of learned optimizers before their weights are known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from celo.protocol import LearnedOptimizer, MetaParams, Optimizer, PRNGKey


def with_modification(
    lopt: LearnedOptimizer, modify: Callable[[Optimizer], Optimizer]
) -> LearnedOptimizer:
    """The learned optimizer whose optimizers are all changed in the same way.

    Args:
      lopt: its meta-parameters stay what they are.
      modify: such as `lambda opt: with_clip(opt, 3.0)`.
    """
    return _ModifiedLearned(lopt, modify)


@dataclasses.dataclass(frozen=True)
class _ModifiedLearned(LearnedOptimizer):
    inner: LearnedOptimizer
    modify: Callable[[Optimizer], Optimizer]

    @property
    def name(self) -> str | None:
        return self.inner.name

    def init(self, key: PRNGKey) -> MetaParams:
        return self.inner.init(key)

    def opt_fn(self, theta: MetaParams, is_training: bool = False) -> Optimizer:
        return self.modify(self.inner.opt_fn(theta, is_training=is_training))
