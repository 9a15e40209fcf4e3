"""Small meta-trainings that share what they compile."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest

from celo.metatrain.config import StageConfig
from celo.metatrain.program import Program
from celo.metatrain.run import Outcome, train
from celo.metatrain.stage import Stage, compile_stage, initial_theta, open_stage

SMALL: dict[str, Any] = {
    "plugin": "learnable-sgdm",
    "suite": "digits",
    "particles": 2,
    "trunc": 4,
    "unroll": "3:7",
    "sigma": 0.1,
    "outer_lr": 0.05,
    "iterations": 24,
    "log_every": 5,
}


@functools.cache
def _compiled(settings: tuple[tuple[str, Any], ...]) -> tuple[Stage, Program]:
    stage = open_stage(StageConfig(**{**SMALL, **dict(settings)}))
    return stage, compile_stage(stage)


class Small:
    """A small meta-training, compiled once a session for each configuration."""

    def __init__(self, **settings: Any):
        self.stage, self.program = _compiled(tuple(sorted(settings.items())))

    def run(self, folder: Path, **keywords: Any) -> Outcome:
        initial = initial_theta(self.stage, keywords.pop("init", None))
        return train(self.stage, initial, self.program, folder, **keywords)


@pytest.fixture
def small() -> Small:
    return Small()
