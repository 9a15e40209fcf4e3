"""Whether a run fits into memory, before anything is compiled."""

from __future__ import annotations

import math
import os
from typing import Any

import jax

from celo.errors import UsageError

_COPIES = 3  # of the states of particles: the old ones, the new ones, what is being computed


def available_bytes() -> int | None:
    """Memory of the device that is free; None where nobody says."""
    statistics = getattr(jax.local_devices()[0], "memory_stats", lambda: None)()
    if statistics and "bytes_limit" in statistics:
        return int(statistics["bytes_limit"]) - int(statistics.get("bytes_in_use", 0))
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def check_memory(states: Any, particles: int, devices: int) -> None:
    """Refuses states of particles that memory cannot hold.

    Args:
      states: tree of shapes.
      particles: for each family, as asked for.
      devices: among which they are spread.

    Raises:
      UsageError: says how much they need and how many particles would do.
    """
    free = available_bytes()
    needed = _COPIES * sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(states))
    needed //= devices
    if free is None or needed <= free:
        return
    raise UsageError(
        f"{particles} particles a family need about {needed / 1e9:.3g} GB of memory, "
        f"and {free / 1e9:.3g} GB are free",
        hint=f"--particles {max(int(particles * free / needed), 1)} would fit",
    )
