"""What changes any `Optimizer`, learned or hand-crafted, by wrapping it.

    with_clip(with_l2(celo.load("celo"), 1e-4), 3.0)      # "celo+l2:1e-4+clip:3.0" by name

Each is called `with_` and the name that stands behind the `+` (`celo.modifiers`); the one applied
last is the first to see a gradient. A wrapped optimizer is an `Optimizer` like any other: `jit`,
`vmap`, `scan`, donation and the bridge to optax work if they work for what it wraps.
"""

from celo.optim.modifiers.accumulation import AccumulatedState, with_accumulate
from celo.optim.modifiers.gradients import with_clip, with_clipnorm, with_l2
from celo.optim.modifiers.grafting import GraftedState, with_graft
from celo.optim.modifiers.learned import with_modification
from celo.optim.modifiers.nonfinite import SkippingState, with_skip_nonfinite
from celo.optim.modifiers.steps import ScheduledState, with_lrmult, with_schedule, with_wd

__all__ = [
    "AccumulatedState",
    "GraftedState",
    "ScheduledState",
    "SkippingState",
    "with_accumulate",
    "with_clip",
    "with_clipnorm",
    "with_graft",
    "with_l2",
    "with_lrmult",
    "with_modification",
    "with_schedule",
    "with_skip_nonfinite",
    "with_wd",
]
