"""From what was asked for to the blocks that have to be computed; imports no JAX.

Everything that can be wrong with a request is found here, before anything is computed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celo import registry
from celo.data.selection import DataSelection
from celo.errors import DataError, DataMissingError, UsageError
from celo.evaluation.cells import CellKey, DataIdentity, Schedule
from celo.evaluation.config import DEFAULT_STEPS, EvalConfig
from celo.evaluation.cost_model import model_seconds
from celo.evaluation.publishing import PUBLISHED, not_publishable
from celo.evaluation.sharding import Shard, assign
from celo.evaluation.store import Run, RunSettings
from celo.loading import (
    FOREIGN,
    find,
    find_task,
    is_random,
    numerics_version,
    random_seed,
    weights_of,
)
from celo.records import Batching, OptimizerPlugin, TaskPlugin
from celo.registry import Found
from celo.spec import OptimizerSpec, parse_list

if TYPE_CHECKING:
    from celo_zoo import Weights

LOOP_NUMERICS_VERSION = 1
"""Raised whenever the numbers of `celo.evaluation.loop` change; part of every cell's identity."""

SEEDS_PER_BLOCK = 3


@dataclass(frozen=True)
class Entry:
    """One optimizer of an evaluation, ready to run.

    Attributes:
      spec: what was asked for, checked.
      found: its record and where it comes from.
      weights: of a learned optimizer; None for hand-crafted ones and random weights.
      weights_id: content hash of the weights, `random:SEED`, or None.
      members: what runs: the grid of a tuned optimizer, else the spec alone.
      label: how it is shown.
    """

    spec: OptimizerSpec
    found: Found[OptimizerPlugin]
    weights: Weights | None
    weights_id: str | None
    members: tuple[OptimizerSpec, ...]
    label: str

    @property
    def text(self) -> str:
        return self.spec.text

    @property
    def distribution(self) -> str:
        """Where the optimizer comes from, as far as its numbers depend on it."""
        origin = self.found.origin
        if self.spec.source not in FOREIGN:
            return origin.distribution
        # They raise no numerics version for us, so any of their versions may have other numbers.
        return f"{origin.distribution}=={origin.version}"

    @property
    def tuned(self) -> str | None:
        """The hyperparameter that the grid varies, or None."""
        grid = self.found.record.grid
        return grid.hyperparameter if grid and len(self.members) > 1 else None


@dataclass(frozen=True)
class Block:
    """Runs that are computed together: the seeds of one aligned triple, a grid whole."""

    entry: Entry
    task: Found[TaskPlugin]
    data: DataIdentity
    seeds: tuple[int, ...]
    schedule: Schedule

    def batching(self, platform: str) -> Batching:
        """How it is laid out on a platform: a fixed property of the task."""
        rule = self.task.record.batching
        return rule.get(platform) or rule.get("default", "vmap")

    def keys(self, batching: Batching) -> list[CellKey]:
        """The cells of the block, members outermost."""
        members = self.entry.members
        grid = tuple(member.text for member in members) if len(members) > 1 else ()
        record = self.task.record
        return [
            CellKey(
                optimizer=member.text,
                entry=self.entry.text,
                weights=self.entry.weights_id,
                task=record.name,
                data=self.data,
                seed=seed,
                schedule=self.schedule,
                block_seeds=self.seeds,
                grid=grid,
                batching=batching,
                numerics=(
                    LOOP_NUMERICS_VERSION,
                    record.numerics_version,
                    numerics_version(self.entry.spec, self.entry.found.record),
                ),
                distribution=self.entry.distribution,
            )
            for member in members
            for seed in self.seeds
        ]

    def layouts(self) -> list[Batching]:
        """The layouts it may have been computed in, on whatever platform; vmap first."""
        rule = self.task.record.batching
        return sorted({*rule.values()} or {"vmap"}, key=lambda b: b != "vmap")


@dataclass(frozen=True)
class SkippedTask:
    """A task that cannot run here, why, and what to do about it."""

    name: str
    reason: str
    hint: str | None


@dataclass(frozen=True)
class Plan:
    """Everything an evaluation will do.

    Attributes:
      entries: optimizers in the order asked for.
      reference: canonical text of the entry that scores are relative to, or None.
      reference_added: the reference was not asked for by name.
      tasks: that can run here, in table order.
      skipped: tasks whose data are missing or damaged.
      blocks: tasks outermost, so that tasks are completed one after the other.
      settings: of the run folder.
      selection: how data sets were replaced.
      output: the run folder.
      suite: name of the suite, or None.
      fingerprints: of the data sets, by name, with what their source looked like; kept in the run
        folder so that a repeated command need not decode anything.
      own: the blocks of this shard; all of them without one.
      shard: this part of several, or None.
      publishable_steps: horizon from which results may be published; 0 for never.
    """

    entries: tuple[Entry, ...]
    reference: str | None
    reference_added: bool
    tasks: tuple[Found[TaskPlugin], ...]
    skipped: tuple[SkippedTask, ...]
    blocks: tuple[Block, ...]
    settings: RunSettings
    selection: DataSelection
    output: Path
    suite: str | None
    fingerprints: dict[str, Any]
    own: tuple[Block, ...]
    shard: Shard | None = None
    publishable_steps: int = PUBLISHED.steps

    @property
    def reasons(self) -> dict[str, str]:
        """Skipped task -> why it cannot run."""
        return {task.name: task.reason for task in self.skipped}

    @property
    def not_publishable(self) -> tuple[str, ...]:
        """Why the results must not be published; () if they may be."""
        return not_publishable(self.settings.schedule, [self.publishable_steps])


def make_plan(config: EvalConfig) -> Plan:
    """Checks a request against what is installed and splits it into blocks.

    Raises:
      UsageError: something asked for is unknown, out of range or contradictory.
      WeightsError: weights are missing or not what they should be.
      DataError: the data of every task are missing or damaged.
      StoreError: the run folder cannot hold this run.
    """
    config.check()
    selection = DataSelection.parse(config.data, published_splits=config.published_splits)
    tasks, horizon, publishable_steps = _tasks(config)
    schedule = config.schedule(horizon)
    asked = {spec.text: (spec, found) for spec, found in map(find, parse_list(config.optimizers))}
    requested, reference = set(asked), None
    if config.reference:
        spec, found = find(config.reference)
        reference = spec.text
        # First, so that scores can be shown as soon as another optimizer finishes a task.
        asked = {reference: (spec, found), **asked}
    entries = tuple(_entry(spec, found) for spec, found in asked.values())
    output = config.output or Path("celo-runs") / _folder_name(config)
    settings = RunSettings(schedule, config.published_splits, selection.text)
    fingerprints = {} if config.fresh else _known_fingerprints(output)
    identities, skipped = _identities(tasks, selection, fingerprints)
    runnable = tuple(task for task in tasks if task.record.name in identities)
    blocks = tuple(
        Block(entry, task, identities[task.record.name], seeds, schedule)
        for task in runnable
        for entry in entries
        for seeds in seed_blocks(config.seeds)
    )
    shard = config.parsed_shard()
    own = _own_names(shard, tasks, entries, config.seeds, schedule)
    return Plan(
        entries=entries,
        reference=reference,
        reference_added=reference is not None and reference not in requested,
        tasks=runnable,
        skipped=skipped,
        blocks=blocks,
        settings=settings,
        selection=selection,
        output=output,
        suite=config.suite,
        fingerprints=fingerprints,
        own=tuple(block for block in blocks if own is None or _name(block) in own),
        shard=shard,
        publishable_steps=publishable_steps,
    )


_BlockName = tuple[str, str, tuple[int, ...]]


def _name(block: Block) -> _BlockName:
    return block.task.record.name, block.entry.text, block.seeds


def _own_names(
    shard: Shard | None,
    tasks: Iterable[Found[TaskPlugin]],
    entries: Iterable[Entry],
    seeds: Iterable[int],
    schedule: Schedule,
) -> set[_BlockName] | None:
    """What a shard computes. Tasks without data count too: elsewhere they may be there."""
    if shard is None:
        return None
    entries, names, costs = list(entries), [], []
    for task in tasks:
        for entry in entries:
            for triple in seed_blocks(seeds):
                runs = len(triple) * len(entry.members)
                names.append((task.record.name, entry.text, triple))
                costs.append(model_seconds(task.record, entry.found.record, runs, schedule))
    numbers = assign(costs, shard.count)
    return {name for name, n in zip(names, numbers, strict=True) if n == shard.number}


def seed_blocks(seeds: Iterable[int]) -> list[tuple[int, ...]]:
    """Groups seeds by aligned triple (0-2, 3-5, ...), whatever their order."""
    triples: dict[int, list[int]] = {}
    for seed in sorted(seeds):
        triples.setdefault(seed // SEEDS_PER_BLOCK, []).append(seed)
    return [tuple(members) for members in triples.values()]


def _entry(spec: OptimizerSpec, found: Found[OptimizerPlugin]) -> Entry:
    record = found.record
    members = (spec,)
    if record.grid and record.grid.hyperparameter not in dict(spec.hyperparameters):
        name = record.grid.hyperparameter
        members = tuple(spec.with_hyperparameters(**{name: v}) for v in record.grid.values)
    weights = weights_of(spec, record)
    if weights is not None:
        label = spec.text + weights.mark
        return Entry(spec, found, weights, weights.content_hash, members, label)
    drawn = f"random:{random_seed(spec)}" if is_random(spec.weights) else None
    return Entry(spec, found, None, drawn, members, spec.text)


def _tasks(config: EvalConfig) -> tuple[list[Found[TaskPlugin]], int, int]:
    """The tasks, the default horizon, and the one from which results may be published."""
    names, horizon = list(config.tasks), DEFAULT_STEPS
    if config.suite is not None:
        suite = registry.suite(config.suite).record
        horizon = suite.steps
        published = horizon if suite.publishable_steps is None else suite.publishable_steps
        chosen = [find_task(name) for name in suite.tasks]
        if not names:
            return chosen, horizon, published
        wanted = {find_task(name).record.name for name in names}
        foreign = wanted - {found.record.name for found in chosen}
        if foreign:
            raise UsageError(
                f"{', '.join(sorted(foreign))} is not in the suite {suite.name!r}",
                hint=f"`celo suites show {suite.name}` lists its tasks; leave --suite out to run "
                "any task",
            )
        return [f for f in chosen if f.record.name in wanted], horizon, published
    found = {f.record.name: f for f in map(find_task, names)}
    return list(found.values()), horizon, PUBLISHED.steps


def _folder_name(config: EvalConfig) -> str:
    if config.suite is not None:
        return registry.suite(config.suite).record.name
    return find_task(config.tasks[0]).record.name if len(config.tasks) == 1 else "tasks"


def _identities(
    tasks: list[Found[TaskPlugin]], selection: DataSelection, note: dict[str, Any]
) -> tuple[dict[str, DataIdentity], tuple[SkippedTask, ...]]:
    """Which data each task will see; decodes a set only if its source has changed (`note`)."""
    by_form: dict[tuple[str, str], DataIdentity | DataError] = {}
    for form in dict.fromkeys(map(_form, tasks)):
        by_form[form] = _identity(*form, selection, note)
    identities: dict[str, DataIdentity] = {}
    skipped: list[SkippedTask] = []
    for task in tasks:
        value = by_form[_form(task)]
        if isinstance(value, DataIdentity):
            identities[task.record.name] = value
        else:
            skipped.append(SkippedTask(task.record.name, value.message, value.hint))
    unusable = [value for value in by_form.values() if isinstance(value, DataError)]
    if unusable and not identities:
        raise unusable[0]
    return identities, tuple(skipped)


def _form(task: Found[TaskPlugin]) -> tuple[str, str]:
    """A data set and how it is read."""
    return task.record.data_set, task.record.vocabulary


def _identity(
    name: str, vocabulary: str, selection: DataSelection, note: dict[str, Any]
) -> DataIdentity | DataError:
    from celo.data import describe, fingerprint

    if not name:
        return DataIdentity("none", selection.source(name), "no data", "")
    try:
        state = describe(name, selection, vocabulary)
        if state.missing:
            raise DataMissingError(state.missing, hint=state.hint)
        place = f"{name}:{vocabulary}" if vocabulary else name
        known = note.get(place)
        if not known or known.get("stat_key") != state.stat_key:
            sha256 = fingerprint(name, selection, vocabulary)
            known = note[place] = {"stat_key": state.stat_key, "sha256": sha256}
        published = selection.published_splits
        return DataIdentity(name, state.kind, state.label, known["sha256"], published)
    except DataError as error:
        return error


FINGERPRINTS_NOTE = "fingerprints"


def _known_fingerprints(output: Path) -> dict[str, Any]:
    if not (output / "run.json").exists():
        return {}
    return Run.open(output).read_note(FINGERPRINTS_NOTE)
