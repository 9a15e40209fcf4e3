"""The loops that people have train with pretrained optimizers through the public interface."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.shared_folder import REPOSITORY, checkpoints_dir

LOOPS = ("plain_jax", "flax_train_state", "flax_nnx", "equinox_loop", "haiku_batch_norm")
STEPS = 60
# One process for all: most of the time of each would be the start of JAX.
PROGRAM = """
import runpy, sys
for name in sys.argv.pop().split(","):
    print("example", name)
    runpy.run_path(f"examples/{name}.py", run_name="__main__")
"""


def test_every_example_is_tested_and_in_the_readme() -> None:
    elsewhere = {"fashion_mnist", "optax_loop", "celo2_optax", "custom_estimator"}
    names = {path.stem for path in (REPOSITORY / "examples").glob("*.py")}
    assert names == {*LOOPS, *elsewhere}
    readme = (REPOSITORY / "README.md").read_text()
    assert all(f"examples/{name}.py" in readme for name in names)


@pytest.mark.slow
def test_the_loops_learn() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, str(STEPS), ",".join(LOOPS)],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "CELO_ZOO_PATH": str(checkpoints_dir()),
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # they compile longer than they run
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outputs = dict(re.findall(r"^example (\w+)\n((?:(?!example).*\n)*)", done.stdout, re.MULTILINE))
    assert tuple(outputs) == LOOPS
    for name, output in outputs.items():
        losses = [float(line.split()[-1]) for line in output.splitlines() if "loss" in line]
        accuracy = float(output.split("test accuracy")[1])
        assert losses[-1] < 1.2 < 1.8 < losses[0], (name, output)
        assert accuracy > 0.7, (name, output)  # chance: 0.1
