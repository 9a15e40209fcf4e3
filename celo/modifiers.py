"""What may stand behind a `+` in an optimizer's text: declarations, no implementation, no JAX.

Modifiers are applied from left to right, so the first one stands nearest to the optimizer and the
last one is the first to see a gradient. `celo.optim.modifiers` holds what they do.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from typing import Literal

from celo.errors import UsageError
from celo.records import canonical_name

Value = float | int | str


@dataclass(frozen=True)
class Argument:
    """What stands behind the colon in `+NAME:ARG`.

    Attributes:
      type: "optimizer" is the text of another optimizer.
      meaning: one line with units.
      default: value used when it is not given; None means that it must be given.
      low: smallest allowed number.
      above_low: the number must be larger than `low`.
      choices: allowed values, for str.
    """

    type: Literal["float", "int", "str", "optimizer"]
    meaning: str
    default: Value | None = None
    low: float = 0.0
    above_low: bool = False
    choices: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        """What it must be, for messages: "a positive number"."""
        if self.type == "optimizer":
            return "the name of an optimizer"
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        kind = "number" if self.type == "float" else "whole number"
        if self.above_low and self.low == 0:
            return f"a positive {kind}"
        return f"a {kind} {'above' if self.above_low else 'of at least'} {self.low:g}"


@dataclass(frozen=True)
class Modifier:
    """Something that changes what any optimizer does.

    Attributes:
      name: what users type behind the `+`; canonical form.
      summary: one line.
      build: string target. Called as `build(optimizer[, argument])`, with `lr=` if `takes_lr`;
        returns a `celo.protocol.Optimizer`.
      example: how it is typed.
      argument: what it takes, or None.
      reads: what it needs besides gradients: "num_steps" at init, "loss" at update.
      takes_lr: is told the learning rate of the optimizer it changes (None where it has none).
      numerics_version: raised whenever its numbers change; part of every result's identity.
      source: where it is defined, or "".
    """

    name: str
    summary: str
    build: str
    example: str
    argument: Argument | None = None
    reads: tuple[Literal["num_steps", "loss"], ...] = ()
    takes_lr: bool = False
    numerics_version: int = 1
    source: str = ""


_PACKAGE = "celo.optim.modifiers"

MODIFIERS = (
    Modifier(
        name="l2",
        summary="adds X times the parameters to the gradient and X times their sum of squares to "
        "the loss that the optimizer sees",
        build=f"{_PACKAGE}.gradients:with_l2",
        example="+l2:1e-4",
        argument=Argument("float", "X, factor of the penalty"),
        source="test-time weight decay of learned_optimization",
    ),
    Modifier(
        name="wd",
        summary="decoupled weight decay: takes X times lr of every parameter away, X where the "
        "optimizer has no lr",
        build=f"{_PACKAGE}.steps:with_wd",
        example="+wd:0.01",
        argument=Argument("float", "X, fraction taken away by a step (times lr)"),
        takes_lr=True,
        source="Loshchilov & Hutter 2019, arXiv:1711.05101",
    ),
    Modifier(
        name="clip",
        summary="clips every element of the gradient to between -X and X",
        build=f"{_PACKAGE}.gradients:with_clip",
        example="+clip:3.0",
        argument=Argument("float", "X, largest element", default=3.0, above_low=True),
        source="gradient clipping of learned_optimization",
    ),
    Modifier(
        name="clipnorm",
        summary="scales gradients whose global norm exceeds X down to that norm",
        build=f"{_PACKAGE}.gradients:with_clipnorm",
        example="+clipnorm:1.0",
        argument=Argument("float", "X, largest Euclidean norm over all leaves", above_low=True),
        source="Pascanu et al. 2013, arXiv:1211.5063",
    ),
    Modifier(
        name="lrmult",
        summary="multiplies every step by X",
        build=f"{_PACKAGE}.steps:with_lrmult",
        example="+lrmult:0.5",
        argument=Argument("float", "X, factor of the steps", above_low=True),
    ),
    Modifier(
        name="schedule",
        summary="multiplies every step by a number that depends on how far the run has come",
        build=f"{_PACKAGE}.steps:with_schedule",
        example="+schedule:cosine",
        argument=Argument(
            "str",
            "as the hyperparameter `schedule` of hand-crafted optimizers, with its defaults",
            choices=("cosine", "sqrt-decay", "exponential-decay"),
        ),
        reads=("num_steps",),
        source="Loshchilov & Hutter 2017, arXiv:1608.03983",
    ),
    Modifier(
        name="graft",
        summary="gives the step the length of the step that the hand-crafted optimizer NAME "
        "would take",
        build=f"{_PACKAGE}.grafting:with_graft",
        example="+graft:adam",
        argument=Argument("optimizer", "NAME[:key=value,...], whose step has the right length"),
        source="Agarwal et al. 2020, arXiv:2002.11803",
    ),
    Modifier(
        name="accumulate",
        summary="updates once in K calls, with the mean gradient and the mean loss of these",
        build=f"{_PACKAGE}.accumulation:with_accumulate",
        example="+accumulate:4",
        argument=Argument("int", "K, calls an update", low=1),
        source="gradient accumulation of learned_optimization",
    ),
    Modifier(
        name="skip-nonfinite",
        summary="ignores calls whose loss or gradient is NaN or infinite, and counts them",
        build=f"{_PACKAGE}.nonfinite:with_skip_nonfinite",
        example="+skip-nonfinite",
    ),
)


def modifier(name: str) -> Modifier:
    """The modifier of this name.

    Raises:
      UsageError: there is none; the message lists them.
    """
    wanted = canonical_name(name)
    known = {m.name: m for m in MODIFIERS}
    if wanted in known:
        return known[wanted]
    near = difflib.get_close_matches(wanted, known, n=1)
    guess = f"did you mean +{near[0]}? " if near else ""
    every = ", ".join(f"+{n}" for n in known)
    raise UsageError(f"unknown modifier '+{name}'", hint=f"{guess}known: {every}")


def argument_value(found: Modifier, text: str | None) -> Value | None:
    """The value of a modifier's argument, with the declared type.

    Args:
      found: the modifier.
      text: as typed, or None.

    Returns:
      None for a modifier that takes none; the text itself for an optimizer.

    Raises:
      UsageError: it is missing, one too many, of another type or out of range.
    """
    hint = f"for example: {found.example}"
    argument = found.argument
    if argument is None:
        if text is not None:
            raise UsageError(f"+{found.name} takes no argument, got {text!r}", hint=hint)
        return None
    if text is None:
        if argument.default is None:
            raise UsageError(f"+{found.name} needs {argument.expected}", hint=hint)
        return argument.default
    value = _typed(argument, text.strip())
    if value is None:
        raise UsageError(f"+{found.name} needs {argument.expected}, got {text!r}", hint=hint)
    return value


def _typed(argument: Argument, text: str) -> Value | None:
    if argument.type == "optimizer":
        return text
    if argument.type == "str":
        return next(
            (c for c in argument.choices if canonical_name(c) == canonical_name(text)), None
        )
    try:
        number = float(text)
    except ValueError:
        return None
    if not math.isfinite(number) or number < argument.low:
        return None
    if argument.above_low and number == argument.low:
        return None
    if argument.type == "int":
        return int(number) if number == int(number) else None
    return number
