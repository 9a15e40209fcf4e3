"""Rows of arrays that may be larger than memory: mapped files, read where they are needed.

A mapped page that was touched counts as this process's memory until it is given back. What is read
here is copied out and given back at once (the system keeps a copy of its own as long as it likes),
so the memory a run takes does not depend on the size of a set.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

_ROWS_AT_ONCE = 4096  # 16 MiB of pages, if every row lies on another one
Map = Callable[..., Iterable[Any]]


def open_mapped(path: Path) -> np.ndarray:
    """The array of a `.npy` file, read-only and mapped; rows will be wanted in any order.

    Raises:
      OSError, ValueError: there is no such file, or it is no array.
    """
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    _advise(array, "MADV_RANDOM")  # no reading ahead: the next row is elsewhere
    return array


def take(array: np.ndarray, rows: np.ndarray, run: Map = map) -> np.ndarray:
    """Copies of some rows.

    Args:
      array: [N, ...], mapped or not.
      rows: integers [n], in any order, each at least 0 and below N.
      run: how the parts of the work are run: `map`, or `Executor.map` for several threads. The
        result is the same.

    Returns:
      [n, ...], in the order of `rows`.
    """
    taken = np.empty((len(rows), *array.shape[1:]), array.dtype)
    order = np.argsort(rows, kind="stable")  # through the file once, from front to back

    def copy(start: int) -> None:
        part = order[start : start + _ROWS_AT_ONCE]
        taken[part] = array[rows[part]]
        release(array)

    for _ in run(copy, range(0, len(rows), _ROWS_AT_ONCE)):
        pass
    return taken


def release(array: np.ndarray) -> None:
    """Gives back the memory of a mapped file's pages; they are read again when they are needed."""
    _advise(array, "MADV_DONTNEED")


def _advise(array: np.ndarray, advice: str) -> None:
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, advice):  # not on Windows
        with contextlib.suppress(OSError, ValueError):
            base.madvise(getattr(mmap, advice))
