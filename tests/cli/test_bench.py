"""`celo bench` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.process import celo

SMALL = ("bench", "update", "-o", "sgd:lr=0.1", "--params", "300", "--turns", "2")


@pytest.mark.slow
def test_measurements_and_the_same_again(tmp_path: Path) -> None:
    before = tmp_path / "before.json"
    done = celo(*SMALL, "--format", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["schema"] == 1 and found["machine"]["copy_gb_s"] > 0
    assert [row["optimizer"] for row in found["rows"]] == ["optax.adam", "sgd:lr=0.1"]
    assert set(found["rows"][0]) >= {
        *("params", "ms", "ratio_to_adam", "temp_ratio", "bytes_per_param"),
        *("fraction_of_bandwidth", "compile_s"),
    }

    for row in found["rows"]:  # as if it had been a thousand times faster
        for name in ("ratio_to_adam", "ratio_low", "ratio_high"):
            row[name] /= 1000
    before.write_text(json.dumps(found))
    done = celo(*SMALL, "--against", str(before), "--trace", str(tmp_path / "trace"))
    assert done.returncode == 1
    assert "2 of 2 measurements are slower than in" in done.stderr
    assert "slower: sgd:lr=0.1 on 336 parameters" in done.stderr
    assert "x adam" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert list((tmp_path / "trace").rglob("*.xplane.pb"))


@pytest.mark.slow
def test_meta_training(tmp_path: Path) -> None:
    """Without any data or weights on the machine."""
    small = ("bench", "meta-train", "-o", "learnable-sgd", "--particles", "1", "--turns", "1")
    done = celo(*small, "--format", "json", CELO_DATA_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    assert (row["optimizer"], row["phase"], row["families"]) == ("learnable-sgd", 1, 4)
    assert row["inner_steps"] == 4 * 1 * 2 * 50
    assert row["ms"] > 0 and row["ratio_low"] <= row["ratio_to_matmul"] <= row["ratio_high"]
    assert "learnable-sgd, phase 1" in done.stderr and "x matmul" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("update", "--params", "0"), "--params is a number of parameters above 0"),
        (("update", "--params", "10", "--task", "Digits_MLP_32"), "or --task names"),
        (("update", "--turns", "0"), "--turns is at least 1"),
        (("meta-train", "--particles", "0"), "--particles is a number above 0"),
        (("meta-train", "-o", "adam", "--turns", "1"), "'adam' cannot be meta-trained"),
        (("loop", "--steps", "0"), "--steps is a number of training steps above 0"),
        (("update", "--against", "nowhere.json"), "is not a measurement of `celo bench`"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], message: str) -> None:
    done = celo("bench", *arguments)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
