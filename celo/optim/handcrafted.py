"""From a function of hyperparameters to the `build` of a hand-crafted optimizer's record.

What every optimizer with a learning rate has in common is added here: the schedules of
`celo.optim.schedules` as further hyperparameters (`celo.records.LEARNING_RATE_SCHEDULE`).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import optax

from celo.optim.from_optax import EvalParams, from_optax
from celo.optim.schedules import Schedule, make_schedule
from celo.protocol import Optimizer
from celo.records import LEARNING_RATE_SCHEDULE, Hyperparameter

Build = Callable[..., Optimizer]


def scheduled(build: Build) -> Build:
    """Adds the schedules to a function that makes an optimizer.

    Args:
      build: takes hyperparameters as keywords; its `lr` is given as a
        `celo.optim.schedules.Schedule`, whatever number the caller passed.

    Returns:
      The same with a number as `lr` (which may be traced) and with all of
      `LEARNING_RATE_SCHEDULE` as further keywords.
    """

    def from_values(values: dict[str, Any], options: dict[str, Any]) -> Optimizer:
        return build(**{**values, "lr": make_schedule(values["lr"], options)})

    return _with_options(build, from_values, LEARNING_RATE_SCHEDULE)


def handcrafted(
    label: str,
    *,
    eval_params: EvalParams | None = None,
    wrap: Callable[[Optimizer], Optimizer] | None = None,
    schedules: bool = True,
) -> Callable[[Callable[..., optax.GradientTransformation]], Build]:
    """Turns a function from hyperparameters to an optax transformation into a `build`.

        @handcrafted("Lion_lr{lr}")
        def lion(lr=1e-4, b1=0.9, b2=0.99):
            return optax.lion(lr, b1=b1, b2=b2)

    The function's `lr` must be something that optax takes as a learning rate: it is given the
    number itself (which may be traced), or a function of the step where a schedule is asked for.

    Args:
      label: the optimizer's name; `{lr}` stands for the value of a hyperparameter.
      eval_params: see `from_optax`.
      wrap: applied to the finished optimizer.
      schedules: whether there is an `lr` that may depend on the step.
    """

    def decorate(transform: Callable[..., optax.GradientTransformation]) -> Build:
        def from_values(values: dict[str, Any], options: dict[str, Any]) -> Optimizer:
            name = label.format(**{key: _text(value) for key, value in values.items()})
            if options.get("schedule", "constant") == "constant":
                made = from_optax(transform(**values), name, eval_params=eval_params)
            else:
                name += f"_{options['schedule']}"
                schedule = make_schedule(values["lr"], options)
                made = _from_schedule(transform, values, schedule, name, eval_params)
            return made if wrap is None else wrap(made)

        return _with_options(transform, from_values, LEARNING_RATE_SCHEDULE if schedules else ())

    return decorate


def _from_schedule(
    transform: Callable[..., optax.GradientTransformation],
    values: dict[str, Any],
    schedule: Schedule,
    name: str,
    eval_params: EvalParams | None,
) -> Optimizer:
    def of_run(num_steps: jax.Array | None) -> optax.GradientTransformation:
        return transform(**{**values, "lr": lambda step: schedule(step, num_steps)})

    if "num_steps" in schedule.reads:
        return from_optax(of_run, name, eval_params=eval_params)
    return from_optax(of_run(None), name, eval_params=eval_params)


def _with_options(
    function: Callable[..., Any],
    from_values: Callable[[dict[str, Any], dict[str, Any]], Optimizer],
    options: tuple[Hyperparameter, ...],
) -> Build:
    """`from_values` behind the signature of `function` and further keywords.

    Args:
      function: has the signature.
      from_values: called with the values of its parameters and those of `options`.
      options: further keywords.
    """
    own = inspect.signature(function)
    added = [
        inspect.Parameter(h.name, inspect.Parameter.KEYWORD_ONLY, default=h.default)
        for h in options
    ]
    signature = own.replace(parameters=[*own.parameters.values(), *added])

    @functools.wraps(function)
    def build(*args: Any, **kwargs: Any) -> Optimizer:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        values = dict(bound.arguments)
        return from_values(values, {h.name: values.pop(h.name) for h in options})

    build.__signature__ = signature  # pyright: ignore[reportAttributeAccessIssue]
    return build


def _text(value: Any) -> str:
    return str(value) if isinstance(value, bool | int | float | str) else "*"
