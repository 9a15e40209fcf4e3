"""What a stage of meta-training is asked to do; flags, recipes and Python build the same object."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from celo import registry
from celo.errors import UsageError
from celo.loading import find
from celo.meta_records import EstimatorPlugin
from celo.metatrain.augmentation_text import parse_augmentation
from celo.records import OptimizerPlugin, Phase
from celo.registry import Found
from celo.spec import OptimizerSpec

Schedule = Literal["constant", "cosine"]
Law = Literal["log-uniform", "uniform"]
StartKind = Literal["random", "momentum"]

LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True)
class StageConfig:
    """One phase of one learned optimizer. Everything here decides what numbers come out.

    Attributes:
      plugin: text of the optimizer, hyperparameters included, without weights.
      phase: number of a phase of its record.
      suite: of meta-training tasks.
      estimator: of meta-gradients, by name.
      aug: how tasks are re-parametrised: `LEVEL[:LOW:HIGH]`, `list` or `none`.
      outer_lr: of AdamW.
      outer_schedule: constant, or cosine to `outer_lr_end`.
      outer_lr_end: last learning rate of the cosine.
      warmup: outer iterations of a linear rise of the learning rate.
      outer_clip: largest global norm of the meta-gradient, or None.
      weight_decay: of AdamW.
      iterations: outer iterations of the whole run, over which schedules go.
      particles: independent pairs of inner runs for each family of tasks.
      trunc: inner steps of a window.
      unroll: shortest and longest unroll, in inner steps: whole numbers in [shortest, longest).
      unroll_law: how lengths are distributed in between.
      sigma: standard deviation of perturbations.
      sigma_end: last value of a cosine from `sigma`, or None for a constant.
      late_weight: how much more the end of an unroll weighs than its start in the meta-loss: a
        step at fraction x of an unroll has the weight (1 + w x^3) / (1 + w / 4).
      balance: divide the meta-losses of a family by its loss at the start, so that families whose
        losses are small (autoencoders) count as much as classifiers.
      start: what a first phase starts from where no weights are given: random weights, or weights
        that make steps along normalised momentum, a hand-made optimizer (plugins that offer it
        have a method `momentum_start(key)`).
      published: as the published code does it: frozen weights are perturbed and decayed and only
        their gradient is masked, PES credits the last loss of an unroll to the last perturbation
        alone, non-finite entries of a meta-gradient are zeros, some sets are trained on 1 %.
      patience: stop after so many non-finite meta-gradients in a row.
      log_every: outer iterations of one line of the log.
      data: None for real data; "synthetic" or "SET=SOURCE,...".
      seed: of everything random.
    """

    plugin: str
    phase: int = 1
    suite: str = "fast-velo"
    estimator: str = "pes"
    aug: str = "global:0.001:1000"
    outer_lr: float = 3e-4
    outer_schedule: Schedule = "constant"
    outer_lr_end: float = 0.0
    warmup: int = 0
    outer_clip: float | None = None
    weight_decay: float = 1e-4
    iterations: int = 100_000
    particles: int = 8
    trunc: int = 50
    unroll: str = "100:2000"
    unroll_law: Law = "log-uniform"
    sigma: float = 0.01
    sigma_end: float | None = None
    late_weight: float = 0.0
    balance: bool = False
    start: StartKind = "random"
    published: bool = False
    patience: int = 20
    log_every: int = 10
    data: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Gives numbers their declared type.

        Raises:
          UsageError: a value is none of that type, or out of range.
        """
        for name, (kind, low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            object.__setattr__(self, name, _number(name, value, kind, low, high))
        for name, choices in (
            ("outer_schedule", get_args(Schedule)),
            ("unroll_law", get_args(Law)),
            ("start", get_args(StartKind)),
        ):
            value = getattr(self, name)
            if value not in choices:
                raise UsageError(
                    f"{_flag(name)} must be one of {', '.join(choices)}, got {value!r}"
                )
        parse_augmentation(self.aug)
        self.unroll_bounds()

    def unroll_bounds(self) -> tuple[int, int]:
        """Shortest and longest unroll.

        Raises:
          UsageError: the text names no such range.
        """
        hint = "expected SHORTEST:LONGEST in inner steps, for example 100:2000"
        try:
            low, high = map(int, self.unroll.split(":"))
        except ValueError:
            raise UsageError(f"--unroll {self.unroll!r} is no range", hint=hint) from None
        if not 2 <= low <= high < 2**30:
            raise UsageError(
                f"--unroll {self.unroll} is impossible: unrolls are at least 2 steps long and the "
                "longest is no shorter than the shortest",
                hint=hint,
            )
        return low, high

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> StageConfig:
        known = {f.name for f in fields(StageConfig)}
        unknown = sorted(set(value) - known)
        if unknown:
            raise UsageError(
                f"unknown setting of a meta-training: {', '.join(unknown)}",
                hint=f"known are: {', '.join(sorted(known))}",
            )
        return StageConfig(**value)

    def differences(self, asked: StageConfig) -> list[str]:
        """One `field: ours here, theirs asked` for each field that differs."""
        ours, theirs = self.to_json(), asked.to_json()
        return [f"{k}: {ours[k]} here, {theirs[k]} asked" for k in ours if ours[k] != theirs[k]]


@dataclass(frozen=True)
class Subject:
    """The learned optimizer that a stage trains.

    Attributes:
      spec: checked, with the hyperparameters of the phase.
      found: its record.
      phase: the phase.
    """

    spec: OptimizerSpec
    found: Found[OptimizerPlugin]
    phase: Phase


def subject_of(plugin: str, phase: int) -> Subject:
    """What a plugin and a phase mean.

    Raises:
      UsageError: it is not a learned optimizer, names weights or modifiers, or lacks the phase.
      UnknownNameError, BrokenPluginError: there is no such plugin, or it cannot be used.
    """
    spec, found = find(plugin)
    record = found.record
    if record.kind != "learned":
        raise UsageError(
            f"{record.name!r} is hand-crafted: it has no weights to meta-train",
            hint="`celo plugins list` shows which optimizers are learned",
        )
    if spec.weights is not None or spec.modifiers:
        raise UsageError(
            f"a plugin is meta-trained without weights and modifiers, got {plugin!r}",
            hint=f"--plugin {spec.name} --init WEIGHTS starts from weights",
        )
    phases = {p.number: p for p in record.phases} or {1: Phase(1, (), "learn all weights")}
    if phase not in phases:
        raise UsageError(
            f"{record.name!r} has no phase {phase} of meta-training",
            hint="it has: " + "; ".join(f"{n} ({p.summary})" for n, p in phases.items()),
        )
    chosen = phases[phase]
    own = {k: v for k, v in chosen.hyperparameters.items() if k not in dict(spec.hyperparameters)}
    return Subject(spec.with_hyperparameters(**own), found, chosen)


def text_with_weights(config: StageConfig, weights: str) -> str:
    """How the optimizer of a stage is named with these weights; the phase is part of it."""
    return replace(subject_of(config.plugin, config.phase).spec, weights=weights).text


def phases_of(plugin: str) -> tuple[int, ...]:
    """The numbers of all phases of a plugin, in order."""
    record = find(plugin)[1].record
    return tuple(sorted(p.number for p in record.phases)) or (1,)


def estimator_settings(config: StageConfig) -> tuple[EstimatorPlugin, dict[str, Any]]:
    """The record of a stage's estimator and what of the stage's settings it takes.

    Raises:
      UnknownNameError: there is no such estimator.
    """
    record = registry.estimator(config.estimator).record
    takes = {h.name for h in record.hyperparameters}
    values = {"trunc": config.trunc, "sigma": config.sigma, "published": config.published}
    return record, {name: value for name, value in values.items() if name in takes}


_OPTIONAL = {"outer_clip", "sigma_end"}
_RANGES: dict[str, tuple[type, float, float]] = {
    "phase": (int, 1, 99),
    "outer_lr": (float, 0.0, math.inf),
    "outer_lr_end": (float, 0.0, math.inf),
    "warmup": (int, 0, 10**9),
    "outer_clip": (float, 1e-30, math.inf),
    "weight_decay": (float, 0.0, math.inf),
    "iterations": (int, 1, 10**9),
    "particles": (int, 1, 10**6),
    "trunc": (int, 2, 10**6),
    "sigma": (float, 1e-12, 1e6),
    "sigma_end": (float, 1e-12, 1e6),
    "late_weight": (float, 0.0, 1e6),
    "patience": (int, 1, 10**6),
    "log_every": (int, 1, 10**6),
    "seed": (int, 0, LARGEST_SEED),
}


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _number(name: str, value: Any, kind: type, low: float, high: float) -> Any:
    try:
        if isinstance(value, (bool, str)):
            raise TypeError
        number = operator.index(value) if kind is int else float(value)
    except TypeError:
        what = "a whole number" if kind is int else "a number"
        raise UsageError(f"{_flag(name)} must be {what}, got {value!r}") from None
    if not (low <= number <= high and math.isfinite(number)):
        most = f" and at most {high:g}" if math.isfinite(high) else ""
        raise UsageError(f"{_flag(name)} must be at least {low:g}{most}, got {value!r}")
    return number
