"""Finds plugins, ours and everybody's, by entry point: optimizers, tasks, suites, data sets,
metrics, estimators, loggers.

One entry point resolves to one record or to a collection of records (`celo.records`), in a module
that imports nothing heavy. Loading is guarded: a plugin that raises, exits, hangs, has damaged
metadata or resolves to something else becomes one `Broken` entry and harms nothing else; what it
prints is dropped. Nothing is cached across failures.

Environment:
  CELO_PLUGINS: comma-separated names of the distributions whose plugins are used besides `celo`
    itself; set but empty means none. Unset means all.
  CELO_STRICT_PLUGINS: `1` raises the first plugin error instead of recording it.
  CELO_PLUGIN_TIME_LIMIT: seconds that the import of a record may take (`celo.guard`).
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from celo import discovery
from celo.errors import BrokenPluginError, UnknownNameError
from celo.guard import silent_stdout, time_limit
from celo.meta_records import EstimatorPlugin, LoggerPlugin
from celo.records import (
    DataSet,
    Metric,
    OptimizerPlugin,
    Suite,
    TaskPlugin,
    canonical_name,
)

FIRST_PARTY = "celo"

R = TypeVar("R", OptimizerPlugin, TaskPlugin, Suite, DataSet, Metric, EstimatorPlugin, LoggerPlugin)


@dataclass(frozen=True)
class Origin:
    """Where a record was found.

    Attributes:
      distribution: name of the installed distribution.
      version: its version.
      entry_point: `name = target` as declared.
    """

    distribution: str
    version: str
    entry_point: str


@dataclass(frozen=True)
class Found(Generic[R]):
    """A usable record and where it comes from."""

    record: R
    origin: Origin

    @property
    def name(self) -> str:
        return self.record.name

    def under_full_name(self) -> Found[R]:
        """The same with its distribution in the record's name: what lost a clash is used so.

        Whatever is kept under its name then never mixes with what belongs to the winner.
        """
        name = f"{self.origin.distribution}:{self.record.name}"
        return replace(self, record=replace(self.record, name=name))


@dataclass(frozen=True)
class Broken:
    """An entry point that cannot be used, with the reason in one line."""

    name: str
    reason: str
    origin: Origin


@dataclass(frozen=True)
class Group(Generic[R]):
    """Everything found under one entry-point group.

    Attributes:
      what: what its members are called in messages.
      found: by canonical name; ours win a clash, then the distribution first in the alphabet.
      aliases: canonical alias -> canonical name.
      shadowed: records that lost a clash, reachable as `distribution:name`.
      broken: entry points that could not be used.
    """

    what: str
    found: dict[str, Found[R]]
    aliases: dict[str, str]
    shadowed: tuple[Found[R], ...]
    broken: tuple[Broken, ...]

    def __iter__(self) -> Iterator[Found[R]]:
        return iter(self.found.values())

    def names(self) -> list[str]:
        return [entry.record.name for entry in self.found.values()]

    def everything(self) -> list[Found[R]]:
        """All that can be used; what lost a clash under its full name."""
        return [*self.found.values(), *(entry.under_full_name() for entry in self.shadowed)]

    def pick(self, text: str) -> Found[R]:
        """The entry that `name`, or `distribution:name`, means.

        Args:
          text: what a user wrote.

        Returns:
          the entry; under its full name where another one has won the short one.

        Raises:
          UnknownNameError, BrokenPluginError: as `get`.
        """
        distribution, colon, name = text.partition(":")
        if not colon or canonical_name(text) in {*self.found, *self.aliases}:
            return self.get(text)
        entry = self.get(name, distribution)
        lost = any(entry is other for other in self.shadowed)
        return entry.under_full_name() if lost else entry

    def get(self, name: str, distribution: str | None = None) -> Found[R]:
        """The entry of this name or alias.

        Args:
          name: any spelling (`canonical_name`).
          distribution: take the one of this distribution, even where another one wins the name.

        Raises:
          UnknownNameError: nothing has this name; the message lists the nearest ones.
          BrokenPluginError: something has it, but cannot be used.
        """
        wanted = canonical_name(name)
        home = None if distribution is None else canonical_name(distribution)
        if home is not None:
            for entry in (*self.found.values(), *self.shadowed):
                names = (entry.record.name, *getattr(entry.record, "aliases", ()))
                if canonical_name(entry.origin.distribution) == home and wanted in map(
                    canonical_name, names
                ):
                    return entry
        else:
            wanted = self.aliases.get(wanted, wanted)
            if wanted in self.found:
                return self.found[wanted]
        for broken in self.broken:
            elsewhere = home not in (None, canonical_name(broken.origin.distribution))
            if canonical_name(broken.name) == wanted and not elsewhere:
                raise BrokenPluginError(
                    f"the {self.what} {broken.name!r} of {broken.origin.distribution} "
                    f"{broken.origin.version} is broken: {broken.reason}",
                    hint="update or uninstall that package; `celo plugins list` shows its state",
                )
        raise UnknownNameError(
            f"unknown {self.what} {name!r}" + (f" in {distribution}" if distribution else ""),
            hint=self._suggestion(wanted),
        )

    def _suggestion(self, wanted: str) -> str:
        known = [*self.found, *self.aliases]
        near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)
        names = [self.found[self.aliases.get(n, n)].record.name for n in near]
        if names:
            return f"did you mean {' or '.join(dict.fromkeys(names))}?"
        return (
            f"known: {', '.join(self.names())}" if len(known) <= 40 else f"{len(known)} are known"
        )


def optimizers() -> Group[OptimizerPlugin]:
    return _discover("celo.optimizers", "optimizer", OptimizerPlugin)


def tasks() -> Group[TaskPlugin]:
    return _discover("celo.tasks", "task", TaskPlugin)


def suites() -> Group[Suite]:
    return _discover("celo.suites", "suite", Suite)


def data_sets() -> Group[DataSet]:
    return _discover("celo.data", "data set", DataSet)


def estimators() -> Group[EstimatorPlugin]:
    return _discover("celo.estimators", "estimator", EstimatorPlugin)


def loggers() -> Group[LoggerPlugin]:
    return _discover("celo.loggers", "logger", LoggerPlugin)


def metrics() -> Group[Metric]:
    return _discover("celo.metrics", "metric", Metric)


def optimizer(name: str, distribution: str | None = None) -> Found[OptimizerPlugin]:
    return optimizers().get(name, distribution)


def task(name: str) -> Found[TaskPlugin]:
    return tasks().pick(name)


def suite(name: str) -> Found[Suite]:
    return suites().pick(name)


def data_set(name: str) -> Found[DataSet]:
    return data_sets().pick(name)


def estimator(name: str) -> Found[EstimatorPlugin]:
    return estimators().pick(name)


def logger(name: str) -> Found[LoggerPlugin]:
    return loggers().pick(name)


def metric(name: str) -> Found[Metric]:
    return metrics().pick(name)


def resolve(target: str) -> Any:
    """Imports what a record's string target `"package.module:attribute"` names.

    Raises:
      BrokenPluginError: the module or the attribute is missing or fails on import.
    """
    module, _, attribute = target.partition(":")
    try:
        # No time limit: whoever gets here has asked for this one, and importing JAX takes a while.
        if module in sys.modules:
            return getattr(sys.modules[module], attribute)
        with silent_stdout():
            return getattr(importlib.import_module(module), attribute)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if _strict():
            raise
        raise BrokenPluginError(
            f"the implementation {target!r} cannot be imported: {discovery.reason(error)}",
            hint="CELO_STRICT_PLUGINS=1 shows the whole traceback",
        ) from error


def _strict() -> bool:
    return os.environ.get("CELO_STRICT_PLUGINS", "") not in ("", "0")


# A discovery in which something failed may succeed next time (a file system that was away), so only
# whole results are kept.
_complete: dict[tuple[str, str | None, bool], Group[Any]] = {}


def _discover(group: str, what: str, kind: type[R]) -> Group[R]:
    allowed, strict = os.environ.get("CELO_PLUGINS"), _strict()
    key = (group, allowed, strict)
    if key not in _complete:
        result = _load_group(group, what, kind, allowed, strict)
        if result.broken:
            return result
        _complete[key] = result
    return _complete[key]


def forget() -> None:
    """Forgets what was discovered, so that newly installed distributions are seen."""
    _complete.clear()
    discovery.forget()


def _load_group(
    group: str, what: str, kind: type[R], allowed: str | None, strict: bool
) -> Group[R]:
    wanted = None if allowed is None else {canonical_name(d) for d in allowed.split(",") if d}
    limit = time_limit()
    entries: list[Found[R]] = []

    def used(origin: Origin) -> bool:
        home = canonical_name(origin.distribution)
        return wanted is None or home == FIRST_PARTY or home in wanted

    points, unreadable = discovery.entry_points(group, strict)
    broken = [
        Broken(name, reason, Origin(name, version, "unreadable"))
        for name, version, reason in unreadable
    ]
    broken = [entry for entry in broken if used(entry.origin)]
    for point in points:
        name, version, damage = discovery.identity(point.dist)
        origin = Origin(name, version, f"{point.name} = {point.value}")
        if not used(origin):
            continue
        try:
            if damage:
                raise ValueError(damage)
            value = point.load() if name == FIRST_PARTY else discovery.load(point, limit)
            entries.extend(Found(record, origin) for record in discovery.records(value, kind))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if strict:
                raise
            broken.append(Broken(point.name, discovery.reason(error), origin))
    return _arrange(what, entries, broken)


def _arrange(what: str, entries: list[Found[R]], broken: list[Broken]) -> Group[R]:
    ours = [entry for entry in entries if entry.origin.distribution == FIRST_PARTY]
    others = sorted(
        (entry for entry in entries if entry.origin.distribution != FIRST_PARTY),
        key=lambda entry: (canonical_name(entry.origin.distribution), entry.name),
    )
    found: dict[str, Found[R]] = {}
    aliases: dict[str, str] = {}
    shadowed: list[Found[R]] = []
    for entry in (*ours, *others):
        name = canonical_name(entry.record.name)
        if name in found:
            shadowed.append(entry)
        else:
            found[name] = entry
    for name, entry in found.items():
        for alias in getattr(entry.record, "aliases", ()):
            if canonical_name(alias) not in found:
                aliases.setdefault(canonical_name(alias), name)
    return Group(what, found, aliases, tuple(shadowed), tuple(broken))
