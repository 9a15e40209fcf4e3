"""From the tasks of a suite to groups of families that run as one vmapped axis."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax

from celo.data import DataSelection, describe
from celo.errors import DataMissingError
from celo.metatrain.pools import Pool, pool_of
from celo.protocol import SingleTaskFamily, TaskFamily
from celo.records import TaskPlugin
from celo.tasks import build_task


@dataclass(frozen=True)
class Group:
    """Families whose parameters and batches have the same shapes.

    Attributes:
      family: one of them; they differ in their rows alone.
      names: of their tasks.
      pool: their training rows.
    """

    family: TaskFamily
    names: tuple[str, ...]
    pool: Pool


def present(
    records: Sequence[TaskPlugin], selection: DataSelection
) -> tuple[list[TaskPlugin], dict[str, str]]:
    """The tasks whose data are on this machine; name of each other task -> what is missing.

    Raises:
      DataMissingError: all are missing.
    """
    missing = {}
    for record in records:
        if record.data_set:
            state = describe(record.data_set, selection, record.vocabulary)
            if state.missing is not None:
                missing[record.name] = state.missing
                hint = state.hint
    found = [record for record in records if record.name not in missing]
    if not found:
        raise DataMissingError(
            f"none of the tasks has its data here: {'; '.join(missing.values())}", hint=hint
        )
    return found, missing


def make_groups(records: Sequence[TaskPlugin], selection: DataSelection) -> list[Group]:
    """Builds the tasks, reads their training data and puts equal shapes together.

    Raises:
      DataError: data are damaged.
      BrokenPluginError: a task cannot be built.
    """
    tasks = [build_task(record, selection) for record in records]
    together: dict[Any, list[int]] = {}
    for i, (record, task) in enumerate(zip(records, tasks, strict=True)):
        together.setdefault(_likeness(record, task), []).append(i)
    return [
        Group(
            SingleTaskFamily(tasks[members[0]]),
            tuple(records[i].name for i in members),
            pool_of([tasks[i].datasets for i in members]),
        )
        for members in together.values()
    ]


def _likeness(record: TaskPlugin, task: Any) -> Any:
    """Equal for tasks of which one can stand for the other, on the other's rows."""
    if task.datasets is None:
        return record.name
    table = task.datasets.table("train")
    config = {k: v for k, v in record.config.items() if k != "data_set"}
    shapes = {n: (str(a.dtype), a.shape[1:]) for n, a in table.arrays.items()}
    abstract = jax.tree.map(lambda x: (x.shape, str(x.dtype)), task.datasets.abstract_batch)
    facts = dict(task.datasets.extra_info)
    return repr((record.build, sorted(config.items()), shapes, abstract, facts, _how(table.decode)))


def _how(decode: Any) -> Any:
    if isinstance(decode, functools.partial):
        return decode.func.__qualname__, decode.args, sorted(decode.keywords.items())
    return id(decode)
