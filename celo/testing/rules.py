"""What a rule is, how rules are applied, and how they say which leaf is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

import jax
import numpy as np

from celo.records import Rounding, RuleException
from celo.trees import named_leaves

S = TypeVar("S")
Status = Literal["ok", "failed", "skipped", "exempt"]


class Violation(Exception):
    """A rule does not hold; the message names the leaf."""


class NotApplicable(Exception):
    """A rule cannot be asked of this subject; the message says why."""


class ConformanceError(AssertionError):
    """At least one rule does not hold; the message has one line for each."""


class ConformanceWarning(UserWarning):
    """A rule does not hold, as the record declares; pytest lists these behind its results."""


@dataclass(frozen=True)
class Rule(Generic[S]):
    """One promise that everything of a kind keeps.

    Attributes:
      name: short, stable, in lower case.
      promise: one sentence.
      check: raises `Violation` where the promise is broken, `NotApplicable` where it means nothing;
        may return a remark about how it is kept.
    """

    name: str
    promise: str
    check: Callable[[S], str | None]

    @property
    def __name__(self) -> str:  # pytest takes the ids of parametrised tests from here
        return self.name


@dataclass(frozen=True)
class Result:
    """What became of one rule.

    Attributes:
      rule: its name.
      promise: its promise.
      status: "ok", "failed", "skipped" or "exempt" (it failed, as the record declares).
      message: what failed, with the leaf; why it was skipped or is exempt; a remark or nothing if
        ok.
    """

    rule: str
    promise: str
    status: Status
    message: str = ""


def apply_rules(rules: Iterable[Rule[S]], subject: S) -> list[Result]:
    """Applies rules one after the other; whatever the subject raises is a failure of that rule."""
    # Some accelerators round the operands of products unless told otherwise, and differently in
    # programs of different shapes.
    with jax.default_matmul_precision("float32"):
        return [_apply(rule, subject) for rule in rules]


def with_exceptions(
    results: Iterable[Result], exceptions: Sequence[RuleException], known: Iterable[Rule[Any]]
) -> list[Result]:
    """Results after the declared exceptions.

    Args:
      results: of rules that were applied as if there were no exceptions.
      exceptions: from the record.
      known: all rules that there are.

    Returns:
      Failures that are declared as "exempt", exceptions from rules that are kept or do not apply as
      "failed"; and one more failure for every exception that names no rule.
    """
    reasons = {exception.rule: exception.reason for exception in exceptions}
    unknown = sorted(reasons.keys() - {rule.name for rule in known})
    return [_excepted(r, reasons[r.rule]) if r.rule in reasons else r for r in results] + [
        Result(name, "", "failed", "the record declares an exception, but no rule has this name")
        for name in unknown
    ]


def _excepted(result: Result, reason: str) -> Result:
    if result.status == "failed":
        return replace(result, status="exempt", message=f"{reason} ({result.message})")
    how = "is kept" if result.status == "ok" else "does not apply"
    message = f"the rule {how}: remove the exception from the record"
    return replace(result, status="failed", message=message)


def require(label: str, results: Sequence[Result]) -> None:
    """Raises where a rule failed.

    Raises:
      ConformanceError: names every rule that failed and what was wrong.
    """
    failed = [f"  {r.rule}: {r.message}" for r in results if r.status == "failed"]
    if failed:
        raise ConformanceError(
            f"{label} breaks {len(failed)} of {len(results)} rules:\n" + "\n".join(failed)
        )


def _apply(rule: Rule[S], subject: S) -> Result:
    try:
        remark = rule.check(subject)
    except NotApplicable as reason:
        return Result(rule.name, rule.promise, "skipped", str(reason))
    except Violation as violation:
        return Result(rule.name, rule.promise, "failed", str(violation))
    except Exception as error:
        lines = str(error).strip().splitlines()
        message = f"raised {type(error).__name__}" + (f": {lines[0]}" if lines else "")
        return Result(rule.name, rule.promise, "failed", message)
    return Result(rule.name, rule.promise, "ok", remark or "")


def expect(holds: bool, message: str) -> None:
    """Raises `Violation` unless `holds`."""
    if not holds:
        raise Violation(message)


def expect_same_form(found: Any, expected: Any, what: str) -> None:
    """Holds structure, shapes and dtypes of a tree against those of another one.

    Args:
      found: tree of arrays or `jax.ShapeDtypeStruct`.
      expected: the same.
      what: names `found` in the message.

    Raises:
      Violation: they differ; names the first leaf that does.
    """
    have, want = named_leaves(found), named_leaves(expected)
    for path, leaf in want.items():
        expect(path in have, f"{what} has lost the leaf {path!r}")
        for fact, value, wanted in (
            ("shape", np.shape(have[path]), np.shape(leaf)),
            ("dtype", jax.numpy.result_type(have[path]), jax.numpy.result_type(leaf)),
        ):
            expect(value == wanted, f"{what} has {path!r} with {fact} {value}, expected {wanted}")
    for path in have:
        expect(path in want, f"{what} has a new leaf {path!r}")
    expect(
        jax.tree.structure(found) == jax.tree.structure(expected),
        f"{what} has the structure {jax.tree.structure(found)}, "
        f"expected {jax.tree.structure(expected)}",
    )


def expect_equal(found: Any, expected: Any, what: str) -> None:
    """As `expect_close`, to the last bit (NaN equals NaN)."""
    expect_same_form(found, expected, what)
    want = named_leaves(expected)
    for path, leaf in named_leaves(found).items():
        same = np.asarray(leaf).tobytes() == np.asarray(want[path]).tobytes()
        expect(same, f"{what} has {path!r} = {_shown(leaf)}, expected {_shown(want[path])}")


def expect_close(
    found: Any,
    expected: Any,
    what: str,
    rounding: Rounding | None = None,
    *,
    rtol: float = 1e-3,
    atol: float = 1e-5,
) -> str:
    """Holds the values of a tree against those of another one.

    Args:
      found: tree of arrays.
      expected: the same.
      what: names `found` in the message.
      rounding: what the record allows besides.
      rtol: fraction of each expected number.
      atol: of every number.

    Returns:
      A remark with the leaf that needed most of `rounding`; empty if none did.

    Raises:
      Violation: form or values differ; names the first leaf that does.
    """
    expect_same_form(found, expected, what)
    want = named_leaves(expected)
    needed: dict[str, float] = {}
    for path, leaf in named_leaves(found).items():
        a, b = (np.asarray(x, np.float64) for x in (leaf, want[path]))
        if np.allclose(a, b, rtol=rtol, atol=atol, equal_nan=True):
            continue
        with np.errstate(invalid="ignore", divide="ignore"):
            fraction = float(np.max(np.abs(a - b)) / np.max(np.abs(b)))  # NaN is too much
        close = rounding is not None and fraction <= rounding.tolerance
        expect(close, f"{what} has {path!r} = {_shown(leaf)}, expected {_shown(want[path])}")
        needed[path] = fraction
    if not needed or rounding is None:
        return ""
    path = max(needed, key=lambda path: needed[path])
    return (
        f"{path!r} differs by {needed[path]:.0e} of its largest number, "
        f"{rounding.tolerance:.0e} is allowed: {rounding.reason}"
    )


def expect_finite(tree: Any, what: str) -> None:
    """Raises `Violation`, with the leaf, where a number is NaN or infinite."""
    for path, leaf in named_leaves(tree).items():
        finite = np.isfinite(np.asarray(leaf, np.float64)).all()
        expect(bool(finite), f"{what} has {path!r} = {_shown(leaf)}, expected finite numbers")


def _shown(leaf: Any) -> str:
    values = np.asarray(leaf).ravel()
    text = ", ".join(str(value) for value in values[:3])
    return f"[{text}{', ...' if values.size > 3 else ''}]"
