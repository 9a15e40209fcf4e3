from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from celo.errors import UsageError
from celo.evaluation.config import EvalConfig, read_config
from celo.evaluation.limits import Limits, parse_size, shown_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8G", 8 * 2**30),
        ("512m", 512 * 2**20),
        ("1.5 GiB", 3 * 2**29),
        ("2TB", 2**41),
        (" 100k ", 100 * 2**10),
        ("4096", 4096),
        (4096, 4096),
    ],
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size
    assert EvalConfig(memory_limit=text).limits() == Limits(memory=size)


@pytest.mark.parametrize(
    "value", ["", "G", "8X", "-1G", "0", 0, -1, "8 G G", "1e9", True, 8.5, "9" * 30, "١G", None]
)
def test_what_is_no_size(value: Any) -> None:
    with pytest.raises(UsageError, match="such as 8G or 512M, got"):
        parse_size(value)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), 1e9, "60", True])
def test_what_is_no_time(value: Any) -> None:
    with pytest.raises(UsageError, match="number of seconds above 0"):
        EvalConfig(time_limit=value)


def test_sizes_are_shown_with_their_unit() -> None:
    assert [shown_size(n) for n in (1, 2**29, 10**10, 2**41)] == [
        "1 B",
        "512 MiB",
        "9.31 GiB",
        "2 TiB",
    ]


def test_limits_isolate_and_nothing_else_does() -> None:
    assert not EvalConfig().limits().isolated
    for settings in ({"time_limit": 60}, {"memory_limit": "8G"}, {"isolate": True}):
        assert EvalConfig(**settings).limits().isolated


def test_toml(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('time_limit = 90\nmemory_limit = "8G"\nisolate = true\n')
    config = EvalConfig(**read_config(path))
    assert config.limits() == Limits(90.0, 8 * 2**30, isolate=True)
    path.write_text("time_limit = true")
    with pytest.raises(UsageError, match="time_limit must be a int or float"):
        read_config(path)
