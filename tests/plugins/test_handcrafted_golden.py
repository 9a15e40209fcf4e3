"""The hand-crafted optimizers against golden files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo.protocol import Optimizer
from celo.trees import named_leaves
from celo_plugins import handcrafted
from tests.plugins.golden_case import read_case, relative_to_max
from tests.shared_folder import golden_files

BUILD: dict[str, Callable[..., Optimizer]] = {
    "adam": handcrafted.adam,
    "adamw": handcrafted.adamw,
    "sgd": handcrafted.sgd,
    "sgdm": handcrafted.sgdm,
}
FILES = [path for name in BUILD for path in golden_files(f"{name}__mixed*.npz")]
KEYWORDS = {"learning_rate": "lr"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden_case_is_reproduced(path: Path) -> None:
    case = read_case(path)
    keywords = {KEYWORDS.get(key, key): value for key, value in case.config.items()}
    optimizer = BUILD[case.optimizer](**keywords)
    start = optimizer.init(case.tree("params0"), num_steps=int(case["num_steps"]))

    @jax.jit
    def replay(state, grads, losses):
        def step(state, inputs):
            new = optimizer.update(state, inputs[0], loss=inputs[1])
            return new, new.params

        return jax.lax.scan(step, state, (grads, losses))

    start = jax.tree.map(jnp.asarray, start)
    final, params = replay(start, case.tree("grads"), jnp.asarray(case["loss"]))

    tolerance = max(30 * float(case["noise_rel_update"]), 3e-4)
    for leaf, found in named_leaves(params).items():
        for k, at in enumerate(case["params_steps"] - 1):
            golden = case[f"params|{leaf}"][k]
            error = np.max(np.abs(found[at] - golden))
            moved = np.max(np.abs(golden - case[f"params0|{leaf}"]))
            floor = 5e-7 * max(1.0, np.max(np.abs(golden)))
            assert error <= max(tolerance * moved, floor), (leaf, at)

    state, golden_state = named_leaves(final), case.flat("state")
    assert state.keys() == golden_state.keys()
    for leaf, array in golden_state.items():
        if np.issubdtype(array.dtype, np.integer):
            np.testing.assert_array_equal(state[leaf], array, err_msg=leaf)
        else:
            assert relative_to_max(state[leaf], array) < 1e-4, leaf
