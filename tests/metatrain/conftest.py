"""Small meta-trainings that share what they compile."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from celo.estimators import TruncatedPES
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


class Spoilt(TruncatedPES):
    """Estimates are not finite from some iteration on."""

    def estimate(self, problem: Any, theta: Any, state: Any, key: Any, iteration: Any) -> Any:
        found, state = super().estimate(problem, theta, state, key, iteration)
        bad = jnp.where(iteration >= 6, jnp.nan, 0.0)
        return dataclasses.replace(
            found, gradient=jax.tree.map(lambda g: g + bad, found.gradient)
        ), state


@pytest.fixture(scope="session")
def spoilt() -> Small:
    """Diverges in iteration 6, and gives up after three."""
    spoilt = Small()
    config = dataclasses.replace(spoilt.stage.config, patience=3)
    spoilt.stage = dataclasses.replace(spoilt.stage, config=config)
    spoilt.program = compile_stage(spoilt.stage, estimator=Spoilt(4, 0.1))
    return spoilt
