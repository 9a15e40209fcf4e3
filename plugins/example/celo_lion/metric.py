"""A metric: how steadily the loss falls."""

from __future__ import annotations

import numpy as np

from celo.metrics.views import RunView


def steadiness(run: RunView, reference: RunView | None, slack: float = 0.0) -> float:
    """Share of evaluations at which the loss was no higher than at the one before.

    Args:
      run: the run that is judged.
      reference: the reference's run of the same task and seed; not looked at.
      slack: relative rise that does not count.
    """
    if run.lost or run.losses.size < 2:
        return 0.0
    return float(np.mean(run.losses[1:] <= run.losses[:-1] * (1.0 + slack)))
