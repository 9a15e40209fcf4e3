"""The zoo: pretrained weights of learned optimizers, found, pulled, checked and loaded.

`cards()` and `card(name)` cost nothing; everything that touches arrays is imported on first use.
No JAX anywhere: a tree of weights is nested dictionaries of numpy arrays.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from celo_zoo.catalogue import Card, Leaf, card, cards, find_card
from celo_zoo.location import (
    Locator,
    Place,
    bundled_file,
    bundled_folder,
    bundled_names,
    entries,
    parse_locator,
    places,
    weights_path,
    zoo_folder,
)

if TYPE_CHECKING:
    from celo_zoo.adding import Added, add
    from celo_zoo.formats import WeightsFile, encode_safetensors, read_weights, write_safetensors
    from celo_zoo.hub import is_offline
    from celo_zoo.loading import PullResult, Weights, load_weights, pull
    from celo_zoo.pushing import PushResult, push
    from celo_zoo.store import Record, read_record, remove
    from celo_zoo.tree import content_hash, flatten, unflatten
    from celo_zoo.verifying import Check, verify
    from celo_zoo.writing import write_weights

_LAZY = {
    "Added": "adding",
    "add": "adding",
    "WeightsFile": "formats",
    "encode_safetensors": "formats",
    "read_weights": "formats",
    "write_safetensors": "formats",
    "is_offline": "hub",
    "PullResult": "loading",
    "Weights": "loading",
    "load_weights": "loading",
    "pull": "loading",
    "PushResult": "pushing",
    "push": "pushing",
    "Record": "store",
    "read_record": "store",
    "remove": "store",
    "content_hash": "tree",
    "flatten": "tree",
    "unflatten": "tree",
    "Check": "verifying",
    "verify": "verifying",
    "write_weights": "writing",
}

__all__ = [
    "Added",
    "Card",
    "Check",
    "Leaf",
    "Locator",
    "Place",
    "PullResult",
    "PushResult",
    "Record",
    "Weights",
    "WeightsFile",
    "add",
    "bundled_file",
    "bundled_folder",
    "bundled_names",
    "card",
    "cards",
    "content_hash",
    "encode_safetensors",
    "entries",
    "find_card",
    "flatten",
    "is_offline",
    "load_weights",
    "parse_locator",
    "places",
    "pull",
    "push",
    "read_record",
    "read_weights",
    "remove",
    "unflatten",
    "verify",
    "weights_path",
    "write_safetensors",
    "write_weights",
    "zoo_folder",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"celo_zoo.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
