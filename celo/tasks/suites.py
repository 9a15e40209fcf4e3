"""The suites of this package, read from the files in `suites/`; imports no JAX."""

from __future__ import annotations

import tomllib
from importlib import resources

from celo.records import Suite


def read_suite(text: str) -> Suite:
    """Reads one suite file: the fields of `celo.records.Suite` as TOML.

    Raises:
      ValueError: not TOML (`tomllib.TOMLDecodeError`), or a task is named twice.
      TypeError: a field is missing or unknown.
    """
    fields = tomllib.loads(text)
    lists = {name: tuple(fields.get(name, ())) for name in ("tasks", "left_out")}
    suite = Suite(**{**fields, **lists})
    if not suite.tasks or len(set(suite.tasks)) != len(suite.tasks):
        raise ValueError(f"suite {suite.name!r} has no task, or names one twice")
    return suite


def _own_suites() -> tuple[Suite, ...]:
    files = resources.files("celo.tasks").joinpath("suites").iterdir()
    texts = {file.name: file.read_text("utf-8") for file in files if file.name.endswith(".toml")}
    return tuple(read_suite(texts[name]) for name in sorted(texts, reverse=True))


SUITES: tuple[Suite, ...] = _own_suites()
