"""What TensorBoard and Weights & Biases keep of a run is what its own log says."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celo.metatrain.loggers import scalars
from tests.cli.process import celo

RUN = [
    *("meta-train", "--plugin", "learnable-sgdm", "--suite", "digits", "--particles", "2"),
    *("--trunc", "4", "--unroll", "3:7", "--iterations", "12", "--log-every", "5"),
]


def _run(folder: Path, logger: str, **environment: str) -> dict[int, dict[str, float]]:
    """Runs a meta-training; the numbers of its own log by iteration."""
    done = celo(*RUN, "--log-to", logger, "--output", "run", cwd=folder, **environment)  # type: ignore[arg-type]
    assert done.returncode == 0, done.stderr
    lines = (folder / "run" / "log.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["iteration"] for row in rows] == [5, 10, 12]
    return {row["iteration"]: scalars(row) for row in rows}


@pytest.mark.slow
def test_tensorboard_gets_every_number(tmp_path: Path) -> None:
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    logged = _run(tmp_path, "tensorboard")
    [file] = (tmp_path / "run" / "tensorboard").iterdir()
    found: dict[int, dict[str, float]] = {}
    for record in _tensorboard_records(file.read_bytes()):
        event = event_pb2.Event.FromString(record)
        for value in event.summary.value:
            if value.HasField("simple_value"):
                found.setdefault(event.step, {})[value.tag] = value.simple_value
    assert found.keys() == logged.keys()
    for iteration, numbers in logged.items():
        assert found[iteration] == pytest.approx(numbers, rel=1e-6)
        assert "family_loss/Digits_MLP_32" in numbers


def _tensorboard_records(data: bytes) -> Iterator[bytes]:
    """The records of a TFRecord file: length, checksum, bytes, checksum."""
    while data:
        (size,) = struct.unpack_from("<Q", data)
        yield data[12 : 12 + size]
        data = data[16 + size :]


@pytest.mark.slow
def test_wandb_offline_gets_every_number(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    logged = _run(tmp_path, "wandb", WANDB_MODE="offline", HOME=str(tmp_path), WANDB_SILENT="true")
    [file] = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    history = _wandb_history(file)
    assert [row.pop("iteration") for row in history] == [*logged]
    for row, numbers in zip(history, logged.values(), strict=True):
        kept = {name: value for name, value in row.items() if not name.startswith("_")}
        assert kept == pytest.approx(numbers)


def _wandb_history(file: Path) -> list[dict[str, Any]]:
    """The lines of a run's history; in a process of its own, because wandb's protobufs warn."""
    code = (
        "import json, sys\n"
        "from wandb.proto import wandb_internal_pb2 as pb\n"
        "data = open(sys.argv[1], 'rb').read()\n"
        "at, whole = 7, b''\n"  # behind the header
        "while at + 7 <= len(data):\n"
        "    left = 32768 - at % 32768\n"  # blocks, as in the logs of LevelDB
        "    if left < 7:\n"
        "        at += left\n"
        "        continue\n"
        "    size, kind = int.from_bytes(data[at + 4 : at + 6], 'little'), data[at + 6]\n"
        "    whole += data[at + 7 : at + 7 + size]\n"
        "    at += 7 + size\n"
        "    if kind in (1, 4):\n"  # complete
        "        record, whole = pb.Record.FromString(whole), b''\n"
        "        items = record.history.item\n"
        "        if items:\n"
        "            pairs = {i.key or '.'.join(i.nested_key): i.value_json for i in items}\n"
        "            print(json.dumps({k: json.loads(v) for k, v in pairs.items()}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]
