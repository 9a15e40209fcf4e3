"""What an evaluation is asked to do; flags, TOML files and Python build the same object."""

from __future__ import annotations

import operator
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from celo.errors import UsageError
from celo.evaluation.cells import Schedule
from celo.evaluation.limits import Limits, parse_seconds, parse_size
from celo.evaluation.publishing import PUBLISHED
from celo.evaluation.sharding import Shard, parse_shard

DEFAULT_STEPS = PUBLISHED.steps
"""Horizon of tasks that are not run as part of a suite."""


@dataclass(frozen=True)
class EvalConfig:
    """One evaluation.

    Attributes:
      optimizers: texts of the grammar (`celo.spec`); lists with commas are allowed.
      suite: name of a suite, or None.
      tasks: names of tasks; with a suite, a selection of its tasks.
      steps: training steps; None means the suite's horizon, or 2000.
      seeds: of the runs.
      output: run folder; None means `./celo-runs/SUITE`.
      reference: the optimizer that scores are relative to, run too if it is missing; None means no
        scores.
      fresh: put an existing run folder aside and start over.
      data: None for real data; "synthetic" or "SET=SOURCE,...".
      published_splits: training splits of the published code (1 % for some sets).
      eval_every: training steps between evaluations.
      eval_batches: batches a split at an evaluation.
      last_eval_batches: batches a split at the last one.
      time_limit: seconds that the computing of a block may take; None for any. A block is what is
        computed together: one optimizer (its tuning grid whole), one task, up to three seeds.
      memory_limit: bytes that a block's compiled loop may need, or a text such as "8G"; None for
        any.
      isolate: compute in a process of its own, so that a crash is a failed run; so do the limits.
      workers: processes of this machine that compute blocks at the same time; from 2 on each has
        its own, as with `isolate`.
      shard: "2/8" for the second of eight parts of the blocks, which others compute; None for all.
    """

    optimizers: tuple[str, ...] = ()
    suite: str | None = None
    tasks: tuple[str, ...] = ()
    steps: int | None = None
    seeds: tuple[int, ...] = (0, 1, 2)
    output: Path | None = None
    reference: str | None = "adam"
    fresh: bool = False
    data: str | None = None
    published_splits: bool = False
    eval_every: int = 10
    eval_batches: int = 5
    last_eval_batches: int = 10
    time_limit: float | None = None
    memory_limit: int | str | None = None
    isolate: bool = False
    workers: int = 1
    shard: str | None = None

    def __post_init__(self) -> None:
        """Gives what Python callers pass its declared form.

        Raises:
          UsageError: a value has another type, or a limit is none.
        """
        for name in ("optimizers", "tasks"):
            value = getattr(self, name)
            texts = (value,) if isinstance(value, str) else tuple(_iterable(name, value))
            if not all(isinstance(text, str) for text in texts):
                raise UsageError(f"{name} must be texts, got {value!r}")
            object.__setattr__(self, name, texts)
        for name in ("steps", "eval_every", "eval_batches", "last_eval_batches", "workers"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _whole(name, getattr(self, name)))
        seeds = tuple(_whole("seeds", seed) for seed in _iterable("seeds", self.seeds))
        object.__setattr__(self, "seeds", seeds)
        if self.time_limit is not None:
            object.__setattr__(self, "time_limit", parse_seconds(self.time_limit))
        if self.memory_limit is not None:
            object.__setattr__(self, "memory_limit", parse_size(self.memory_limit))
        if self.reference is not None and self.reference.strip().lower() == "none":
            object.__setattr__(self, "reference", None)

    def schedule(self, horizon: int) -> Schedule:
        steps = horizon if self.steps is None else self.steps
        return Schedule(steps, self.eval_every, self.eval_batches, self.last_eval_batches)

    def limits(self) -> Limits:
        memory = None if self.memory_limit is None else parse_size(self.memory_limit)
        return Limits(self.time_limit, memory, bool(self.isolate))

    def parsed_shard(self) -> Shard | None:
        return None if self.shard is None else parse_shard(self.shard)

    def check(self) -> None:
        """Raises UsageError for what is wrong whatever is installed."""
        if not any(text.strip() for text in self.optimizers):
            raise UsageError("no optimizer was given", hint="for example: --optimizers celo,adam")
        if self.suite is None and not self.tasks:
            raise UsageError(
                "no task was given",
                hint="for example: --suite quickstart, or --task Digits_MLP_32; "
                "`celo suites list` and `celo tasks list` show what there is",
            )
        if not self.seeds:
            raise UsageError("the list of seeds is empty", hint="for example: --seeds 0,1,2")
        repeated = sorted({seed for seed in self.seeds if self.seeds.count(seed) > 1})
        if repeated:
            raise UsageError(
                f"seeds are repeated: {', '.join(map(str, repeated))}", hint="give each seed once"
            )
        if not all(0 <= seed < 2**31 for seed in self.seeds):
            raise UsageError("seeds must be whole numbers from 0 to 2147483647")
        for name in ("steps", "eval_every", "eval_batches", "last_eval_batches", "workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                flag = "--" + name.replace("_", "-")
                raise UsageError(f"{flag} must be at least 1, got {value}")
        for name, most in (("steps", 10_000_000), ("eval_every", 10_000), ("workers", 1024)):
            value = getattr(self, name)
            if value is not None and value > most:
                flag = "--" + name.replace("_", "-")
                raise UsageError(f"{flag} must be at most {most:,}, got {value}")
        self.parsed_shard()
        if self.shard is not None and self.fresh:
            raise UsageError(
                "--fresh with --shard would put aside what the other shards have computed",
                hint="choose another folder with --output, or remove the old one before the shards "
                "start",
            )


def _iterable(name: str, value: Any) -> Iterable[Any]:
    try:
        return iter(value)
    except TypeError:
        raise UsageError(f"{name} must be a sequence, got {value!r}") from None


def _whole(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise UsageError(f"{name} must be whole numbers, got {value!r}") from None


def read_config(path: Path) -> dict[str, Any]:
    """Reads the TOML form of an EvalConfig: the same names, lists for tuples.

    Raises:
      UsageError: the file is missing, no TOML, or has unknown names or values of another type.
    """
    try:
        value = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error
    known = {field.name for field in fields(EvalConfig)}
    unknown = sorted(set(value) - known)
    if unknown:
        raise UsageError(
            f"{path} has unknown settings: {', '.join(unknown)}",
            hint=f"known: {', '.join(sorted(known))}",
        )
    return {name: _typed(path, name, item) for name, item in value.items()}


_TYPES: Mapping[str, tuple[type, ...]] = {
    "optimizers": (list, str),
    "tasks": (list, str),
    "seeds": (list,),
    "steps": (int,),
    "eval_every": (int,),
    "eval_batches": (int,),
    "last_eval_batches": (int,),
    "fresh": (bool,),
    "published_splits": (bool,),
    "suite": (str,),
    "output": (str,),
    "reference": (str,),
    "data": (str,),
    "time_limit": (int, float),
    "memory_limit": (int, str),
    "isolate": (bool,),
    "workers": (int,),
    "shard": (str,),
}


def _typed(path: Path, name: str, value: Any) -> Any:
    allowed = _TYPES[name]
    wrong = not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed)
    member = int if name == "seeds" else str
    if isinstance(value, list):
        wrong = wrong or not all(type(item) is member for item in value)
    if wrong:
        kinds = " or ".join("list" if t is list else t.__name__ for t in allowed)
        raise UsageError(f"{path}: {name} must be a {kinds}, got {value!r}")
    if name in ("optimizers", "tasks") and isinstance(value, str):
        return (value,)
    if isinstance(value, list):
        return tuple(value)
    if name == "output":
        return Path(str(value))
    return value
