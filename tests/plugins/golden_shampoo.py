"""The golden states of Shampoo: matrices one by one, which ours has in stacks."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from celo.trees import named_leaves
from tests.plugins.golden_case import GoldenCase, relative_to_max

# Directions without gradients hold noise of float32, which roots enlarge.
TOLERANCE = {"statistics": 1e-4, "preconditioners": 5e-2}


def check_shampoo_state(case: GoldenCase, final: Any) -> None:
    """Every statistic and every root is in some stack; averages and count are those of the file."""
    state, golden = final.optax_opt_state[0], case.flat("state")
    assert int(state.count) == golden["count"]
    for kind, limit in TOLERANCE.items():
        stacks: dict[str, jax.Array] = getattr(state, kind)
        ours = [matrix for stack in stacks.values() for matrix in np.asarray(stack)]
        theirs = [v for k, v in golden.items() if f"|{kind}|" in k]
        assert len(ours) == len(theirs)
        for matrix in theirs:
            near = [relative_to_max(m, matrix) for m in ours if m.shape == matrix.shape]
            assert min(near) < limit, (kind, matrix.shape)
    for kind in ("momentum", "diagonal_momentum", "diagonal_statistics"):
        for leaf, array in named_leaves(getattr(state, kind)).items():
            assert relative_to_max(array, golden[f"stats|{leaf}|{kind}|quantized"]) < 3e-3, leaf
