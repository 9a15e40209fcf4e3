"""Data sets: where they lie, how they are read, cut, prepared and sampled.

Importing this package, its records or `DataSelection` imports neither numpy nor JAX; `describe` and
`fingerprint` import numpy when they are called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celo.data.selection import DataSelection as DataSelection

if TYPE_CHECKING:
    from celo.data.sources import DataState


def describe(name: str, selection: DataSelection, vocabulary: str = "") -> DataState:
    """What stands behind the name of a set; see `celo.data.sources.describe`."""
    from celo.data import sources

    return sources.describe(name, selection, vocabulary)


def fingerprint(name: str, selection: DataSelection, vocabulary: str = "") -> str:
    """sha256 of the decoded arrays of a set; see `celo.data.sources.fingerprint`."""
    from celo.data import sources

    return sources.fingerprint(name, selection, vocabulary)
