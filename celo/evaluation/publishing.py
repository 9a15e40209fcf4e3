"""Whether results may stand beside published ones. Standard library only.

The published evaluation trains for 2000 steps and evaluates every 10 of them on 5 batches of each
split, on 10 at the last. Shorter runs, and other schedules, are for trying things out: every table,
file and JSON says so.
"""

from __future__ import annotations

from collections.abc import Iterable

from celo.evaluation.cells import Schedule

PUBLISHED = Schedule(steps=2000, eval_every=10, eval_batches=5, last_eval_batches=10)


def not_publishable(schedule: Schedule, horizons: Iterable[int] = ()) -> tuple[str, ...]:
    """Why results of a schedule must not be published; () if they may be.

    Args:
      schedule: of the runs.
      horizons: in steps, of the suites that they belong to (`Suite.publishable_steps`), 0 for one
        whose results never are; none means the published horizon.
    """
    reasons = []
    for horizon in sorted({*horizons} or {PUBLISHED.steps}):
        if horizon == 0:
            reasons.append("its suite is for trying things out")
        elif schedule.steps < horizon:
            reasons.append(f"{schedule.steps} steps, published: {horizon}")
    for name in ("eval_every", "eval_batches", "last_eval_batches"):
        own, published = getattr(schedule, name), getattr(PUBLISHED, name)
        if own != published:
            reasons.append(f"--{name.replace('_', '-')} {own}, published: {published}")
    return tuple(reasons)
