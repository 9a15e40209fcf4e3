"""One grammar for optimizers, as typed on the command line and shown in every table.

    [SOURCE:]NAME[@WEIGHTS][:key=value[,key=value]...][+MODIFIER[:ARG]]...

`parse` reads it, `check` holds it against the plugin's record, `OptimizerSpec.text` is its one
canonical form. What stands before a first `:` is a SOURCE when what follows is not `identifier=`.
WEIGHTS reaches to the next `:identifier=`, the next `+modifier` or the end, so that paths and
`hf:org/name@revision` need no quoting. Modifiers are applied from left to right
(`celo.modifiers`); an ARG ends at the next `+letter`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from celo.errors import UsageError
from celo.modifiers import Modifier, argument_value, modifier
from celo.records import Hyperparameter, OptimizerPlugin, canonical_name

Value = float | int | bool | str

_IDENTIFIER = r"[A-Za-z_]\w*"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_ASSIGNMENT = re.compile(rf"{_IDENTIFIER}=")
_END_OF_WEIGHTS = re.compile(rf":(?={_IDENTIFIER}=)|\+(?=[A-Za-z][\w-]*(?::|\+|$))")
GRAMMAR = "[SOURCE:]NAME[@WEIGHTS][:key=value,...][+MODIFIER[:ARG]]..."


@dataclass(frozen=True)
class OptimizerSpec:
    """One optimizer as asked for.

    Attributes:
      name: canonical name (or alias, until `check` has replaced it).
      source: distribution or library it must come from, or None.
      weights: what stands behind `@`, or None.
      hyperparameters: explicitly given ones, sorted by name.
      modifiers: (name, argument or None) in order of application.
    """

    name: str
    source: str | None = None
    weights: str | None = None
    hyperparameters: tuple[tuple[str, Value], ...] = ()
    modifiers: tuple[tuple[str, str | None], ...] = ()

    @property
    def text(self) -> str:
        """The canonical text: `parse(spec.text) == spec`."""
        parts = [f"{self.source}:" if self.source else "", self.name]
        if self.weights is not None:
            parts.append(f"@{self.weights}")
        if self.hyperparameters:
            pairs = (f"{key}={format_value(value)}" for key, value in self.hyperparameters)
            parts.append(":" + ",".join(pairs))
        for name, argument in self.modifiers:
            parts.append(f"+{name}" if argument is None else f"+{name}:{argument}")
        return "".join(parts)

    def with_hyperparameters(self, **values: Value) -> OptimizerSpec:
        """The same optimizer with some hyperparameters set."""
        merged = {**dict(self.hyperparameters), **values}
        return replace(self, hyperparameters=tuple(sorted(merged.items())))


def format_value(value: Value) -> str:
    """The shortest text that reads back as the same value: `0.001`, `1e-05`, `true`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def parse(text: str) -> OptimizerSpec:
    """Reads one optimizer.

    Values become int, float, bool or str by their form; `check` gives them their declared type.

    Raises:
      UsageError: the text does not follow the grammar; the message shows where.
    """
    if not isinstance(text, str):
        raise UsageError(
            f"an optimizer is named by a text, got {text!r}", hint=f"such as {GRAMMAR}"
        )
    rest = text.strip()
    if not rest:
        raise UsageError("an optimizer's name is empty", hint=f"expected {GRAMMAR}")
    source, rest = _take_source(rest)
    match = _NAME.match(rest)
    if match is None:
        raise UsageError(f"{text!r} has no optimizer name", hint=f"expected {GRAMMAR}")
    name, rest = canonical_name(match.group()), rest[match.end() :]
    weights: str | None = None
    if rest.startswith("@"):
        end = _END_OF_WEIGHTS.search(rest, 1)
        stop = end.start() if end else len(rest)
        weights, rest = rest[1:stop], rest[stop:]
        if not weights:
            raise UsageError(
                f"{text!r} names no weights after '@'",
                hint="expected a zoo id, a path, hf:org/name[@revision], bundled or random[:seed]",
            )
    hyperparameters: dict[str, Value] = {}
    if rest.startswith(":"):
        end = re.compile(r"\+(?=[A-Za-z])").search(rest)
        stop = end.start() if end else len(rest)
        hyperparameters, rest = _assignments(rest[1:stop], text), rest[stop:]
    return OptimizerSpec(
        name=name,
        source=source,
        weights=weights,
        hyperparameters=tuple(sorted(hyperparameters.items())),
        modifiers=_modifiers(rest, text),
    )


def parse_list(texts: Iterable[str]) -> list[OptimizerSpec]:
    """Reads comma-separated lists: a comma starts a new optimizer unless `identifier=` follows.

    Repetitions of one optimizer are dropped; order is kept.

    Raises:
      UsageError: the list is empty or an entry does not follow the grammar.
    """
    specs: list[OptimizerSpec] = []
    for text in texts:
        items: list[str] = []
        for piece in text.split(","):
            if items and _ASSIGNMENT.match(piece.strip()):
                items[-1] += "," + piece.strip()
            else:
                items.append(piece)
        specs.extend(parse(item) for item in items)
    if not specs:
        raise UsageError("the list of optimizers is empty", hint="for example: celo,adam")
    return list(dict.fromkeys(specs))


def check(spec: OptimizerSpec, record: OptimizerPlugin) -> OptimizerSpec:
    """Holds a spec against the record it names.

    Returns:
      the spec with the record's name, values of the declared types and canonical arguments of
      modifiers. Whether the optimizer that `+graft` names exists is for `celo.loading` to find.

    Raises:
      UsageError: unknown hyperparameter or modifier, value of another type or out of range, or
        weights for an optimizer that has none.
    """
    if spec.weights is not None and record.kind != "learned":
        raise UsageError(
            f"{record.name!r} is hand-crafted and has no weights, but '@{spec.weights}' was given",
            hint=f"use {record.name!r} without '@'",
        )
    values = check_values(spec.hyperparameters, record.hyperparameters, record.name)
    return replace(
        spec,
        name=canonical_name(record.name),
        hyperparameters=tuple(sorted(values.items())),
        modifiers=tuple(
            (found.name, _canonical_argument(found, text))
            for found, text in ((modifier(name), text) for name, text in spec.modifiers)
        ),
    )


def check_values(
    given: Iterable[tuple[str, Value]],
    declared: Iterable[Hyperparameter],
    owner: str,
    what: str = "hyperparameter",
) -> dict[str, Value]:
    """Holds values against what a record declares.

    Args:
      given: (name, value) pairs.
      declared: what there is.
      owner: name of the record.
      what: what the values are called in messages.

    Returns:
      the values, in the declared types.

    Raises:
      UsageError: a name is unknown, or a value is of another type or out of range.
    """
    known = {h.name: h for h in declared}
    return {key: _checked(key, value, known, owner, what) for key, value in given}


def _canonical_argument(found: Modifier, text: str | None) -> str | None:
    value = argument_value(found, text)
    if value is None or found.argument is None:
        return None
    if found.argument.type != "optimizer":
        return format_value(value)
    other = parse(str(value))
    if other.weights is not None:
        raise UsageError(
            f"+{found.name} takes a hand-crafted optimizer, and {value!r} names weights",
            hint=f"for example: {found.example}",
        )
    return other.text


def _take_source(text: str) -> tuple[str | None, str]:
    head, colon, tail = text.partition(":")
    if colon and _NAME.fullmatch(head) and not _ASSIGNMENT.match(tail):
        return head, tail
    return None, text


def _assignments(text: str, whole: str) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for piece in text.split(","):
        key, equals, value = (part.strip() for part in piece.partition("="))
        if not equals or not re.fullmatch(_IDENTIFIER, key) or not value:
            raise UsageError(
                f"{piece!r} in {whole!r} is not of the form key=value", hint=f"expected {GRAMMAR}"
            )
        if key in values:
            raise UsageError(f"{key!r} is given twice in {whole!r}", hint="give it once")
        values[key] = _read_value(value)
    return values


def _modifiers(text: str, whole: str) -> tuple[tuple[str, str | None], ...]:
    if not text:
        return ()
    if not text.startswith("+"):
        raise UsageError(f"{text!r} in {whole!r} is not understood", hint=f"expected {GRAMMAR}")
    modifiers: list[tuple[str, str | None]] = []
    # A `+` inside an argument is part of a number (1e+3) unless a letter follows it.
    for piece in re.split(r"\+(?=[A-Za-z])", text[1:]):
        name, colon, argument = piece.partition(":")
        if not re.fullmatch(r"[A-Za-z][\w-]*", name) or (colon and not argument):
            raise UsageError(f"'+{piece}' in {whole!r} is not of the form +MODIFIER[:ARG]")
        modifiers.append((canonical_name(name), argument or None))
    return tuple(modifiers)


def _read_value(text: str) -> Value:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text


def _checked(
    key: str, value: Value, known: dict[str, Hyperparameter], owner: str, what: str
) -> Value:
    if key not in known:
        names = ", ".join(known) or "none"
        raise UsageError(f"{owner!r} has no {what} {key!r}", hint=f"it has: {names}")
    declared = known[key]
    typed = _typed(value, declared)
    if typed is None:
        raise UsageError(
            f"{owner}:{key} must be {_describe(declared)}, got {format_value(value)!r}",
            hint=f"the default is {format_value(declared.default)}",
        )
    return typed


def _typed(value: Value, declared: Hyperparameter) -> Value | None:
    if declared.type == "str":
        text = str(value)
        return text if not declared.choices or text in declared.choices else None
    if declared.type == "bool":
        return value if isinstance(value, bool) else None
    if isinstance(value, (bool, str)):
        return None
    number = float(value)
    below = declared.low is not None and number < declared.low
    above = declared.high is not None and number > declared.high
    if not math.isfinite(number) or below or above:
        return None
    if declared.type == "int":
        return int(number) if number == int(number) else None
    return number


def _describe(declared: Hyperparameter) -> str:
    if declared.choices:
        return f"one of {', '.join(declared.choices)}"
    kind = {"float": "a number", "int": "a whole number", "bool": "true or false", "str": "text"}
    low = "" if declared.low is None else f" of at least {declared.low:g}"
    high = "" if declared.high is None else f"{' and' if low else ' of'} at most {declared.high:g}"
    return kind[declared.type] + low + high
