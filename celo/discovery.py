"""Reads what distributions declare and loads it, guarded; `celo.registry` makes sense of it."""

from __future__ import annotations

from importlib import metadata
from typing import Any, TypeVar

from celo.guard import TIME_LIMIT_VARIABLE, ImportTimeoutError, at_most, silent_stdout
from celo.records import API_VERSION, Hyperparameter, RuleException, canonical_name

R = TypeVar("R")

Points = tuple[list[metadata.EntryPoint], list[tuple[str, str, str]]]

# What hangs is remembered, though nothing else that fails is: to try it again in the same process
# would cost the time limit every time.
_hanging: dict[str, str] = {}


def entry_points(group: str, strict: bool) -> Points:
    """The entry points of a group, and the distributions whose entry points cannot be read.

    Args:
      group: of entry points.
      strict: raise what went wrong.

    Returns:
      the entry points, and (name, version, reason) of every distribution that is damaged.
    """
    try:
        return list(metadata.entry_points(group=group)), []
    except Exception:
        if strict:
            raise
    # One damaged file makes the standard library give up on all: ask one after the other.
    points: list[metadata.EntryPoint] = []
    damaged: list[tuple[str, str, str]] = []
    seen: set[str] = set()
    for dist in metadata.distributions():
        name, version, _ = identity(dist)
        if canonical_name(name) in seen:
            continue  # the first on the path is the one that is imported
        seen.add(canonical_name(name))
        try:
            points.extend(dist.entry_points.select(group=group))
        except Exception as error:
            damage = f"its entry_points.txt cannot be read: {reason(error)}"
            damaged.append((name, version, damage))
    return points, damaged


def reason(error: BaseException) -> str:
    """An error in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def load(point: metadata.EntryPoint, limit: float) -> Any:
    """What an entry point names, imported without its prints.

    Args:
      point: the entry point.
      limit: seconds that the import may take; 0 means any time.

    Raises:
      TimeoutError: the import did not end in time; it is not tried again in this process.
    """
    module = point.value.partition(":")[0].strip()
    if module in _hanging:
        raise TimeoutError(_hanging[module])
    try:
        # What a plugin prints on import must not end up in the middle of our JSON.
        with silent_stdout(), at_most(limit):
            return point.load()
    except ImportTimeoutError as error:
        _hanging[module] = f"{error} ({TIME_LIMIT_VARIABLE} sets the limit)"
        raise TimeoutError(_hanging[module]) from error


def records(value: Any, kind: type[R]) -> list[R]:
    """The records an entry point resolves to.

    Raises:
      TypeError, ValueError: it resolves to something else, or a record is not well-formed.
    """
    found: Any = [value] if isinstance(value, kind) else value
    if not isinstance(found, (list, tuple)) or not all(isinstance(r, kind) for r in found):
        raise TypeError(f"resolves to {type(value).__name__}, expected {kind.__name__}")
    for record in found:
        if record.api_version != API_VERSION:
            raise ValueError(
                f"{record.name!r} was written for API version {record.api_version}, "
                f"this celo has {API_VERSION}"
            )
        _check_fields(record)
    return list(found)


# What lists and lookups of names rely on, so that no record breaks them for all others.
_STRINGS = ("name", "summary", "kind", "family", "build", "load", "compute", "data_set", "citation")
_NUMBERS = ("steps", "batch_size", "parameters", "train_rows", "test_rows", "num_classes")
_TUPLES = {
    "aliases": str,
    "tasks": str,
    "hyperparameters": Hyperparameter,
    "options": Hyperparameter,
    "exceptions": RuleException,
}


def _check_fields(record: Any) -> None:
    for fields, expected in ((_STRINGS, str), (_NUMBERS, int)):
        for field in fields:
            value = getattr(record, field, expected())
            if not isinstance(value, expected):
                raise TypeError(f"{field} is {value!r}, expected {expected.__name__}")
    if not canonical_name(record.name):
        raise ValueError("its name is empty")
    for field, member in _TUPLES.items():
        value = getattr(record, field, ())
        if not isinstance(value, tuple) or not all(isinstance(item, member) for item in value):
            raise TypeError(f"{field} is {value!r}, expected a tuple of {member.__name__}")


def identity(dist: metadata.Distribution | None) -> tuple[str, str, str | None]:
    """Name, version and what is wrong with the metadata (None: nothing) of a distribution."""
    if dist is None:
        return "unknown", "unknown", None
    try:
        if dist.name and dist.version:
            return dist.name, dist.version, None
        damage = "has no name or no version"
    except Exception as error:
        damage = f"cannot be read: {reason(error)}"
    folder = getattr(dist, "_path", None)  # where the standard library looks first, too
    stem = folder.name.partition("-")[0] if folder is not None else "unknown"
    return stem, "unknown", f"its METADATA {damage}"


def forget() -> None:
    """Forgets which imports hang."""
    _hanging.clear()
