"""Tasks: networks, losses and the suites that name them.

Importing this package or its records imports no JAX; building a task does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celo.data import DataSelection
    from celo.protocol import Task
    from celo.records import TaskPlugin


def build_task(record: TaskPlugin, selection: DataSelection) -> Task:
    """Builds the task of a record; touches no data yet.

    Args:
      record: from `celo.registry.task`.
      selection: which data stands behind the names of data sets.

    Raises:
      BrokenPluginError: its implementation cannot be imported.
      UnknownNameError: its data set is not known.
    """
    from celo import registry

    build = registry.resolve(record.build)
    return build(name=record.name, data=selection, **record.config)
