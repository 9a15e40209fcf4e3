"""Learned optimizers for JAX: use, compare and extend them.

Importing this package imports neither JAX nor pandas; the names below are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celo.api import compare as compare
    from celo.api import evaluate as evaluate
    from celo.api import load as load
    from celo.api import load_learned as load_learned
    from celo.api import load_task as load_task
    from celo.api import meta_train as meta_train
    from celo.api import save as save
    from celo.errors import CeloError as CeloError

try:
    __version__ = version("celo")
except PackageNotFoundError:  # used from a source tree that was never installed
    __version__ = "0+unknown"

_LAZY = {
    "compare": "celo.api",
    "load": "celo.api",
    "load_learned": "celo.api",
    "load_task": "celo.api",
    "evaluate": "celo.api",
    "meta_train": "celo.api",
    "save": "celo.api",
    "CeloError": "celo.errors",
}

__all__ = [
    "CeloError",
    "__version__",
    "compare",
    "evaluate",
    "load",
    "load_learned",
    "load_task",
    "meta_train",
    "save",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'celo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
