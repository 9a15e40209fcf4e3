"""Several processes at one run: they compute together, one of them writes and decides.

The processes are those of `jax.distributed`; what a clock or a signal says differs from one to the
next, and a program that spans them must be called alike by all.
"""

from __future__ import annotations

import os

import jax
import numpy as np

from celo.errors import UsageError


def join_processes() -> None:
    """Joins the processes that the environment names: a cluster that JAX knows, or variables.

    These are JAX_COORDINATOR_ADDRESS (host:port), JAX_NUM_PROCESSES and JAX_PROCESS_ID.

    Raises:
      UsageError: it names none, or they cannot be reached.
    """
    try:
        count, number = (os.environ.get(n) for n in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID"))
        jax.distributed.initialize(
            num_processes=None if count is None else int(count),
            process_id=None if number is None else int(number),
        )
    except (ValueError, RuntimeError) as error:
        raise UsageError(
            f"the processes of this run cannot be joined: {error}",
            hint="start one on each host under Slurm or MPI, or set JAX_COORDINATOR_ADDRESS, "
            "JAX_NUM_PROCESSES and JAX_PROCESS_ID",
        ) from error


def is_leader() -> bool:
    """Whether this process writes files."""
    return jax.process_index() == 0


def agreed(value: int) -> int:
    """The leader's value, in every process; all must call it together."""
    if jax.process_count() == 1:
        return value
    from jax.experimental import multihost_utils

    return int(multihost_utils.broadcast_one_to_all(np.int32(value)))
