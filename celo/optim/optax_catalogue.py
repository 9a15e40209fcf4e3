"""Every optimizer of optax under its own name: records made from signatures.

`optax:adan:lr=1e-3` is `optax.adan(learning_rate=1e-3)`; those of `optax.contrib` are here as well.
What a text can say (numbers, true or false, words) is a hyperparameter, `learning_rate` under the
name `lr`; everything else keeps optax's default. There are no tuning grids: nobody has said which
rates suit which of these, so what runs is what is asked for.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import re
import textwrap
import typing
from collections.abc import Callable
from dataclasses import replace
from types import NoneType
from typing import Any

import jax
import numpy as np
import optax
import optax.contrib

from celo.errors import UnknownNameError, UsageError
from celo.optim.from_optax import EvalParams
from celo.optim.handcrafted import Build, handcrafted
from celo.records import (
    LEARNING_RATE_SCHEDULE,
    Hyperparameter,
    OptimizerPlugin,
    canonical_name,
)

SOURCE = "optax"
VERSION = optax.__version__
REQUIRED = "required"
"""Stands for the default of a hyperparameter that has none."""

_WRAPS = "it changes another optimizer and is none itself"
_REFUSED = {
    "lbfgs": "it searches along a line and calls the loss function for that",
    "sophia": "it estimates the Hessian and calls the loss function for that",
    "dpsgd": "it needs the gradients of single examples",
    "mechanize": _WRAPS,
    "optimistic_adam": "optax has replaced it by optimistic-adam-v2",
    "reduce_on_plateau": _WRAPS,
    "sam": _WRAPS,
    "schedule_free": f"{_WRAPS}; there are schedule-free-adamw and schedule-free-sgd",
    "split_real_and_imaginary": _WRAPS,
    "sm3": "it fails on scalars; the optimizer `sm3` is the same and does not",
}
_READS_LOSS = ("polyak_sgd", "momo", "momo_adam")
_EVAL_PARAMS: dict[str, EvalParams] = {
    "schedule_free_adamw": optax.contrib.schedule_free_eval_params,
    "schedule_free_sgd": optax.contrib.schedule_free_eval_params,
}
_RATES = ("learning_rate", "max_learning_rate")
_NUMBERS = {float, int, bool, complex, jax.Array, np.ndarray, np.bool_, np.number, NoneType}


def names() -> list[str]:
    """Canonical names of all optimizers that can be built, in alphabetical order."""
    return sorted(canonical_name(name) for name in _functions() if name not in _REFUSED)


def record(name: str) -> OptimizerPlugin:
    """The record of one of optax's optimizers.

    Raises:
      UnknownNameError: optax has none of this name; the message lists the nearest ones.
      UsageError: it needs what no training loop here can give.
    """
    found = _python_name(name)
    if found in _REFUSED:
        raise UsageError(
            f"optax:{canonical_name(name)} cannot be used here: {_REFUSED[found]}",
            hint="any other optimizer of optax can, for example optax:adan:lr=1e-3",
        )
    if found not in _functions():
        near = difflib.get_close_matches(canonical_name(name), names(), n=3, cutoff=0.5)
        raise UnknownNameError(
            f"unknown optimizer 'optax:{name}': optax {VERSION} has none of this name",
            hint=f"did you mean {' or '.join(f'optax:{n}' for n in near)}?"
            if near
            else f"known: {', '.join(names())}",
        )
    function = _functions()[found]
    own = _parameters(function)
    told = _told(function)
    schedules = LEARNING_RATE_SCHEDULE if _takes_schedules(function) else ()
    return OptimizerPlugin(
        name=canonical_name(found),
        kind="hand-crafted",
        summary=(inspect.getdoc(function) or found).splitlines()[0].rstrip("."),
        build=f"{__name__}:{found}",
        citation=f"{function.__module__}.{found} of optax {VERSION}",
        hyperparameters=(
            *(replace(h, help=told.get(h.name, h.help)) for h in own.values()),
            *schedules,
        ),
        reads=("loss",) if found in _READS_LOSS else (),
    )


def our_name(hyperparameter: str) -> str:
    """The name of a parameter of optax here: `learning_rate` is `lr`."""
    return "lr" if hyperparameter == "learning_rate" else hyperparameter


def __getattr__(name: str) -> Build:
    """The `build` of an optimizer, which records name as `celo.optim.optax_catalogue:NAME`."""
    if name.startswith("_") or name in _REFUSED or name not in _functions():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    function = _functions()[name]
    parameters = [
        inspect.Parameter(
            h.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if h.default == REQUIRED else h.default,
        )
        for h in _parameters(function).values()
    ]

    def transform(**values: Any) -> optax.GradientTransformation:
        if "lr" in values:
            values["learning_rate"] = values.pop("lr")
        return function(**values)

    transform.__signature__ = inspect.Signature(  # pyright: ignore[reportFunctionMemberAccess]
        parameters
    )
    label = f"optax:{canonical_name(name)}"
    schedules = _takes_schedules(function)
    return handcrafted(label, eval_params=_EVAL_PARAMS.get(name), schedules=schedules)(transform)


@functools.cache
def _functions() -> dict[str, Callable[..., optax.GradientTransformation]]:
    """Public functions with a learning rate that make a transformation, contrib's included."""
    found = {}
    for namespace in (optax.contrib, optax):
        for name, function in vars(namespace).items():
            if name.startswith(("_", "scale_by_")) or not inspect.isfunction(function):
                continue
            signature = inspect.signature(function, eval_str=True)
            makes = signature.return_annotation
            if not (isinstance(makes, type) and issubclass(makes, optax.GradientTransformation)):
                continue
            if any(rate in signature.parameters for rate in _RATES):
                found[name] = function
    return found


def _python_name(name: str) -> str:
    return canonical_name(name).replace("-", "_")


def _takes_schedules(function: Callable[..., Any]) -> bool:
    rate = inspect.signature(function, eval_str=True).parameters.get("learning_rate")
    return rate is not None and any(map(_is_callable, typing.get_args(rate.annotation)))


def _parameters(function: Callable[..., Any]) -> dict[str, Hyperparameter]:
    """What a text can say of a function's parameters, by our names, in its own order.

    Raises:
      UsageError: a parameter without default is none of it.
    """
    found: dict[str, Hyperparameter] = {}
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        name = our_name(parameter.name)
        declared = _hyperparameter(name, parameter)
        if declared is not None:
            found[name] = declared
        elif parameter.default is inspect.Parameter.empty:
            raise UsageError(
                f"optax:{canonical_name(function.__name__)} cannot be used here: its "
                f"{parameter.name} is nothing that a text can say",
                hint="wrap it in Python: celo.optim.from_optax(transform, name)",
            )
    return found


def _told(function: Callable[..., Any]) -> dict[str, str]:
    """The first sentence that optax's documentation has about each parameter, by our names."""
    entries = re.findall(r"^ {2}(\w+): (.*(?:\n {4,}\S.*)*)", inspect.getdoc(function) or "", re.M)
    sentences = {our_name(name): " ".join(text.split()).split(". ")[0] for name, text in entries}
    told = {name: textwrap.shorten(text.rstrip("."), 80) for name, text in sentences.items()}
    return told | {"lr": "learning rate"}


def _hyperparameter(name: str, parameter: inspect.Parameter) -> Hyperparameter | None:
    if name in ("key", "seed"):
        # optax warns unless one is given, and the key is the one that stays.
        return Hyperparameter(name, "int", 0, help="of its noise") if name == "key" else None
    kind = _type(parameter)
    if kind is None:
        return None
    none = parameter.default is inspect.Parameter.empty
    literal = typing.get_origin(parameter.annotation) is typing.Literal
    return Hyperparameter(
        name=name,
        type=kind,
        default=REQUIRED if none else parameter.default,
        choices=typing.get_args(parameter.annotation) if literal else (),
        # The loop compiles once for all rates; whatever else optax may look at stays as it is.
        traceable=name == "lr",
        help=f"optax's {parameter.name}",
    )


_Kind = typing.Literal["float", "int", "bool", "str"]
# A bool is an int, so it comes first.
_KINDS: tuple[tuple[type, _Kind], ...] = (
    (bool, "bool"),
    (int, "int"),
    (float, "float"),
    (str, "str"),
)


def _type(parameter: inspect.Parameter) -> _Kind | None:
    default, annotation = parameter.default, parameter.annotation
    for kind, name in _KINDS:
        if isinstance(default, kind):
            return name
    if default is not None and default is not inspect.Parameter.empty:
        return None
    named = {*(typing.get_args(annotation) or (annotation,))}
    if not all(part in _NUMBERS or _is_callable(part) for part in named):
        return None
    if float in named:
        return "float"
    return "int" if int in named else None


def _is_callable(annotation: Any) -> bool:
    return typing.get_origin(annotation) is Callable


def with_our_names(values: dict[str, Any]) -> dict[str, Any]:
    """Hyperparameters as typed, by our names.

    Raises:
      UsageError: one is given under both names.
    """
    if {"lr", "learning_rate"} <= set(values):
        raise UsageError("lr and learning_rate are the same", hint="give one of them")
    return {our_name(name): value for name, value in values.items()}


def check_complete(found: OptimizerPlugin, given: dict[str, Any], source: str = SOURCE) -> None:
    """Refuses what lacks a hyperparameter that its library gives no default.

    Args:
      found: the record, made from a signature.
      given: hyperparameters by our names.
      source: what stands before the name.

    Raises:
      UsageError: names the hyperparameter.
    """
    missing = [h.name for h in found.hyperparameters if h.default == REQUIRED]
    for name in missing:
        if name not in given:
            text = f"{source}:{found.name}:{name}=1e-3"
            raise UsageError(
                f"{source}:{found.name} needs {name}: its library gives it no default, and it has "
                "no tuning grid here",
                hint=f"for example: {text}",
            )
