from __future__ import annotations

from pathlib import Path

import pytest

from celo.errors import UsageError
from celo.evaluation.config import EvalConfig, read_config

GOOD = EvalConfig(optimizers=("celo",), suite="quickstart")


def test_defaults_are_the_published_protocol() -> None:
    GOOD.check()
    schedule = GOOD.schedule(2000)
    assert (schedule.steps, schedule.eval_every) == (2000, 10)
    assert (schedule.eval_batches, schedule.last_eval_batches) == (5, 10)
    assert GOOD.seeds == (0, 1, 2) and GOOD.reference == "adam"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizers": ()}, "no optimizer"),
        ({"optimizers": ("",)}, "no optimizer"),
        ({"suite": None}, "no task"),
        ({"seeds": ()}, "seeds is empty"),
        ({"seeds": (0, 1, 0)}, "repeated: 0"),
        ({"seeds": (-1,)}, "whole numbers from 0"),
        ({"steps": 0}, "--steps must be at least 1, got 0"),
        ({"steps": -5}, "--steps must be at least 1, got -5"),
        ({"eval_batches": 0}, "--eval-batches"),
        ({"steps": 10**8}, "at most 10,000,000"),
        ({"eval_every": 10**6}, "--eval-every must be at most 10,000"),
        ({"workers": 0}, "--workers must be at least 1, got 0"),
        ({"workers": 2000}, "--workers must be at most 1,024, got 2000"),
        ({"shard": "3/2"}, "1 <= NUMBER <= COUNT, got '3/2'"),
        ({"shard": "1/2", "fresh": True}, "put aside what the other shards have computed"),
    ],
)
def test_wrong_requests_are_refused(changes, message) -> None:
    from dataclasses import replace

    with pytest.raises(UsageError, match=message):
        replace(GOOD, **changes).check()


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 10.5},
        {"seeds": 3},
        {"seeds": (0.5,)},
        {"workers": 1.5},
        {"tasks": (1,)},
        {"optimizers": 5},
    ],
)
def test_python_callers_get_a_sentence_too(changes) -> None:
    with pytest.raises(UsageError, match="must be"):
        EvalConfig(**{"optimizers": ("celo",), "suite": "quickstart", **changes})


def test_python_callers_may_be_casual() -> None:
    import numpy as np

    config = EvalConfig(optimizers="celo", tasks="T", seeds=np.arange(2), reference="None")
    assert config.optimizers == ("celo",) and config.tasks == ("T",)
    assert config.seeds == (0, 1) and type(config.seeds[0]) is int
    assert config.reference is None


def test_toml_builds_the_same_object(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        'optimizers = ["celo", "adam"]\nsuite = "quickstart"\nseeds = [0, 1]\n'
        'output = "here"\nreference = "none"\nsteps = 50\nworkers = 2\nshard = "1/4"\n'
    )
    assert EvalConfig(**read_config(path)) == EvalConfig(
        optimizers=("celo", "adam"),
        suite="quickstart",
        seeds=(0, 1),
        output=Path("here"),
        reference=None,
        steps=50,
        workers=2,
        shard="1/4",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepz = 3", "unknown settings: stepz"),
        ("steps = true", "steps must be a int"),
        ('seeds = ["0"]', "seeds must be a list"),
        ("steps =", "not valid TOML"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_config(path)
    with pytest.raises(UsageError, match="cannot read"):
        read_config(tmp_path / "missing.toml")
