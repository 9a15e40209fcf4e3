"""Meta-training on several devices and processes; run as a script, prints or writes JSON.

python -m tests.metatrain.scaled_out devices            one process, 8 fake devices
python -m tests.metatrain.scaled_out process ID PORT FOLDER
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

ITERATIONS = 20


def _config(**settings: Any) -> Any:
    from celo.metatrain.config import StageConfig

    return StageConfig(
        **{
            "plugin": "learnable-sgdm",
            "suite": "digits",
            "particles": 8,
            "trunc": 4,
            "unroll": "3:7",
            "sigma": 0.1,
            "outer_lr": 0.05,
            "iterations": ITERATIONS,
            **settings,
        }
    )


def _run(devices: list[Any] | None, folder: Path) -> dict[str, Any]:
    """Displacement of theta and losses of a run."""
    import numpy as np

    from celo.metatrain.run import train
    from celo.metatrain.stage import compile_stage, initial_theta, open_stage
    from celo.trees import named_leaves

    stage = open_stage(_config())
    initial = initial_theta(stage, None)
    program = compile_stage(stage, devices)
    outcome = train(stage, initial, program, folder)
    moved = {
        name: np.asarray(leaf) - np.asarray(named_leaves(initial.theta)[name])
        for name, leaf in named_leaves(outcome.theta).items()
    }
    vector = np.concatenate([np.ravel(leaf) for leaf in moved.values()])
    return {"moved": vector.tolist(), "loss": outcome.loss}


def _estimates(mesh: Any) -> dict[str, Any]:
    """Losses of every particle of toy problem B, and the gradient, after two windows."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax.sharding import NamedSharding, PartitionSpec

    from celo.estimators import TruncatedPES
    from celo.estimators.truncated_pes import reduce_window
    from tests.estimators.toy_problems import LearnedRate

    problem = LearnedRate(np.array([1.0, 0.1]), np.array([1.0, 2.0]), 16)
    estimator, theta = TruncatedPES(10, 0.01), jnp.float32(np.log(0.3))
    state = estimator.init(problem, theta, jax.random.PRNGKey(0))
    losses = jax.random.normal(jax.random.PRNGKey(3), (16, 10, 2))
    eps = jax.random.normal(jax.random.PRNGKey(4), (16, 5))
    if mesh is not None:
        spread = NamedSharding(mesh, PartitionSpec("particles"))

        def place(x: Any) -> Any:
            return jax.device_put(x, spread) if x.ndim and x.shape[0] == 16 else x

        state, losses, eps = jax.tree.map(place, (state, losses, eps))
    estimate = jax.jit(lambda s, k: estimator.estimate(problem, theta, s, k, jnp.int32(0)))
    found = None
    for i in range(2):
        found, state = estimate(state, jax.random.PRNGKey(i))
    assert found is not None
    mask, done = jnp.ones((16, 10), bool), jnp.zeros((16, 10), bool).at[:, 6].set(True)
    reduced = jax.jit(lambda x, e: reduce_window(x, mask, done, e, e, 0.5).gradient)(losses, eps)
    return {
        "losses": np.asarray(found.losses).tolist(),
        "gradient": float(found.gradient),
        "reduced": np.asarray(reduced).tolist(),
        "devices": len(state.states[0].sharding.device_set),
    }


def devices() -> dict[str, Any]:
    import tempfile

    import jax
    import numpy as np
    from jax.sharding import Mesh

    found = {}
    assert len(jax.devices()) == 8
    mesh = Mesh(np.asarray(jax.devices()), ("particles",))
    with tempfile.TemporaryDirectory() as folder:
        for name, count in (("one", None), ("eight", 8)):
            chosen = None if count is None else jax.devices()[:count]
            found[name] = {
                **_run(chosen, Path(folder) / name),
                **_estimates(None if count is None else mesh),
            }
        found["resumed"] = _resumed(Path(folder) / "resumed")
    return found


def _resumed(folder: Path) -> dict[str, Any]:
    """Begun on one device and ended on four."""
    import jax

    from celo.metatrain.run import train
    from celo.metatrain.stage import compile_stage, initial_theta, open_stage

    stage = open_stage(_config())
    initial = initial_theta(stage, None)
    train(stage, initial, compile_stage(stage), folder, until=12)
    return _run(jax.devices()[:4], folder)


def process(number: int, port: int, folder: Path) -> None:
    os.environ["JAX_COORDINATOR_ADDRESS"] = f"localhost:{port}"
    os.environ["JAX_NUM_PROCESSES"], os.environ["JAX_PROCESS_ID"] = "2", str(number)
    import jax

    from celo.metatrain.processes import join_processes

    join_processes()
    assert jax.process_count() == 2 and len(jax.devices()) == 2
    result = _run(jax.devices(), folder / "run")
    (folder / f"result-{number}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    if sys.argv[1] == "devices":
        json.dump(devices(), sys.stdout)
    else:
        process(int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
