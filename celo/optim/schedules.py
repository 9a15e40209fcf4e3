"""Learning rates that change during a run: `schedule(step, num_steps)`.

Pure functions of the step (updates done so far); step, length of the run and every number of a
schedule may be traced. The shapes are those of NAdamW and OptList (Metz et al. 2020,
arXiv:2002.11887) and of learned_optimization's baselines.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Protocol

import jax
import jax.numpy as jnp

from celo.errors import UsageError

Number = float | jax.Array


class Schedule(Protocol):
    """A learning rate as a function of time.

    Attributes:
      reads: ("num_steps",) where the length of the run is needed, else ().
    """

    reads: ClassVar[tuple[Literal["num_steps"], ...]]

    def __call__(self, step: Any, max_steps: Any = None) -> Any:
        """The learning rate, a float32 scalar.

        Args:
          step: updates done before this one.
          max_steps: length of the run.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Constant:
    """The same rate at every step."""

    learning_rate: Number
    reads: ClassVar[tuple[Literal["num_steps"], ...]] = ()

    def __call__(self, step: Any, max_steps: Any = None) -> Any:
        return self.learning_rate


@dataclasses.dataclass(frozen=True)
class Cosine:
    """A ramp from 0, a constant part, then half a cosine; the last value is held.

    With any warm-up the ramp lasts through the constant part if that is longer, as published.

    Attributes:
      learning_rate: the largest value.
      min_learning_rate_mult: the last value, as a fraction of the largest.
      constant_fraction: fraction of the run before the descent.
      warmup_fraction: fraction of the run for the ramp; 0 for none.
    """

    learning_rate: Number
    min_learning_rate_mult: Number = 0.0
    constant_fraction: Number = 0.5
    warmup_fraction: Number = 0.01
    reads: ClassVar[tuple[Literal["num_steps"], ...]] = ("num_steps",)

    def __call__(self, step: Any, max_steps: Any = None) -> jax.Array:
        if max_steps is None:
            raise UsageError(
                "a cosine schedule needs the length of the run, but max_steps is None",
                hint="Call schedule(step, max_steps).",
            )
        end = jnp.asarray(max_steps, jnp.float32)
        now = jnp.minimum(jnp.asarray(step, jnp.float32), end)
        flat = end * self.constant_fraction
        # Without a descent (constant_fraction=1) nothing is divided by zero.
        descent = jnp.maximum(end - flat, jnp.finfo(jnp.float32).tiny)
        done = (jnp.maximum(now, flat) - flat) / descent
        shape = 0.5 * jnp.cos(jnp.pi * done) + 0.5
        body = self.min_learning_rate_mult + (1 - self.min_learning_rate_mult) * shape
        ramp = end * jnp.maximum(self.warmup_fraction, self.constant_fraction)
        ramping = (jnp.asarray(self.warmup_fraction) > 0) & (ramp > now)
        return self.learning_rate * jnp.where(ramping, now / jnp.where(ramping, ramp, 1.0), body)


@dataclasses.dataclass(frozen=True)
class LinearRampupSqrtDecay:
    """Linear up to the peak, then as one over the root of the step (Vaswani et al. 2017, 5.3).

    Attributes:
      peak_learning_rate: the largest value.
      warmup_steps: the step at which it is reached.
    """

    peak_learning_rate: Number = 1e-3
    warmup_steps: Number = 1000.0
    reads: ClassVar[tuple[Literal["num_steps"], ...]] = ()

    def __call__(self, step: Any, max_steps: Any = None) -> jax.Array:
        now = jnp.maximum(jnp.asarray(step, jnp.float32), 1.0)
        warmup = self.warmup_steps
        return self.peak_learning_rate * jnp.minimum(now / warmup, jnp.sqrt(warmup / now))


@dataclasses.dataclass(frozen=True)
class PiecewiseLinear:
    """Straight lines between knots; the first and the last value are held outside.

    Attributes:
      times: steps of the knots, increasing.
      values: the learning rates there.
    """

    times: tuple[float, ...]
    values: tuple[Number, ...]
    reads: ClassVar[tuple[Literal["num_steps"], ...]] = ()

    def __call__(self, step: Any, max_steps: Any = None) -> jax.Array:
        times = jnp.asarray(self.times, jnp.float32)
        now = jnp.asarray(step, jnp.float32)
        return jnp.interp(now, times, jnp.stack([jnp.asarray(v) for v in self.values]))


@dataclasses.dataclass(frozen=True)
class ExponentialDecay:
    """The same fraction less at every step.

    Attributes:
      base_learning_rate: the first value.
      decay: fraction lost in a step.
    """

    base_learning_rate: Number
    decay: Number = 7e-5
    reads: ClassVar[tuple[Literal["num_steps"], ...]] = ()

    def __call__(self, step: Any, max_steps: Any = None) -> jax.Array:
        now = jnp.asarray(step, jnp.float32)
        return self.base_learning_rate * (1.0 - self.decay) ** now


def make_schedule(lr: Number, options: Mapping[str, Any]) -> Schedule:
    """The schedule that the hyperparameters of an optimizer describe, scaled by `lr`.

    Args:
      lr: factor of the whole schedule; may be traced, so that a grid of rates is one vmapped axis.
      options: values of all of `celo.records.LEARNING_RATE_SCHEDULE`, by name.

    Raises:
      UsageError: the knots of a piecewise linear schedule are not understood, or there is no such
        schedule.
    """
    kind = options["schedule"]
    if kind == "constant":
        return Constant(lr)
    if kind == "cosine":
        names = ("min_learning_rate_mult", "constant_fraction", "warmup_fraction")
        return Cosine(lr, **{name: options[name] for name in names})
    if kind == "sqrt-decay":
        return LinearRampupSqrtDecay(lr, options["rampup_steps"])
    if kind == "exponential-decay":
        return ExponentialDecay(lr, options["lr_decay"])
    if kind == "piecewise-linear":
        times, factors = _numbers("times", options), _numbers("factors", options)
        if len(times) != len(factors):
            raise UsageError(
                f"a piecewise linear schedule has {len(times)} times, but {len(factors)} factors",
                hint="give as many factors as times, for example times=100/200,factors=1/0.1",
            )
        if any(a >= b for a, b in zip(times, times[1:], strict=False)):
            raise UsageError(f"times must increase, got {options['times']!r}")
        return PiecewiseLinear(times, tuple(lr * factor for factor in factors))
    raise UsageError(
        f"unknown schedule {kind!r}",
        hint="constant, cosine, sqrt-decay, exponential-decay or piecewise-linear",
    )


def _numbers(name: str, options: Mapping[str, Any]) -> tuple[float, ...]:
    text = str(options[name])
    try:
        return tuple(float(part) for part in text.split("/"))
    except ValueError:
        raise UsageError(
            f"{name} must be numbers separated by '/', got {text!r}",
            hint=f"for example: {name}=1/0.1",
        ) from None
