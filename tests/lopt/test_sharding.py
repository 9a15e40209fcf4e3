"""States are sharded like their parameters, and no parameter is put together on one device."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from celo.testing.devices import environment_with_devices
from tests.lopt import sharded_updates

OPTIMIZERS = ("celo", "celo2-base", "nn-adam")


@pytest.fixture(scope="module")
def reports() -> dict[str, Any]:
    child = subprocess.run(
        [sys.executable, "-m", "tests.lopt.sharded_updates", *OPTIMIZERS],
        cwd=Path(__file__).parents[2],
        env=environment_with_devices(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_is_sharded_like_the_parameters(name: str, reports: dict[str, Any]) -> None:
    for when in ("init", "jitted init", "update"):
        assert reports[name][when] == [], when


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_parameter_is_gathered(name: str, reports: dict[str, Any]) -> None:
    smallest = min(math.prod(shape) for shape, _ in sharded_updates.PARAMS.values())
    # Sums over a leaf's rows or columns are sent, and they are smaller.
    assert 0 < reports[name]["sent"] < smallest


def test_shardings_that_belong_to_the_type_are_kept_apart(reports: dict[str, Any]) -> None:
    assert reports["explicit"] == [True] * 4


def test_the_check_sees_what_is_sent() -> None:
    text = """
      %a = f32[4,64]{1,0} all-gather(%x), channel_id=1, replica_groups=[1,8]<=[8], dimensions={0}
      %b = (f32[8]{0}, f32[3,100]{1,0}) all-reduce-start(%y, %z), channel_id=2
      %c = f32[1000,1000]{1,0} add(%all-gather.1, %w)
    """
    assert sharded_updates.largest_sent(text) == 300
