"""Suites of meta-training tasks, read from the files in `suites/`; imports no JAX."""

from __future__ import annotations

from importlib import resources

from celo.records import Suite
from celo.tasks.suites import read_suite


def _own_suites() -> tuple[Suite, ...]:
    files = resources.files("celo.metatrain").joinpath("suites").iterdir()
    texts = {file.name: file.read_text("utf-8") for file in files if file.name.endswith(".toml")}
    return tuple(read_suite(texts[name]) for name in sorted(texts))


SUITES: tuple[Suite, ...] = _own_suites()
