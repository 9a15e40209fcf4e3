"""Trees of weights as flat mappings of paths, and the hash of what they hold.

A path is the keys from the root joined by `|`: `rnn_params|rnn/linear|w`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from celo.errors import WeightsError
from celo_zoo.catalogue import Leaf

SEPARATOR = "|"
MAX_DEPTH = 32
_LISTED = 8

Leaves = Mapping[str, np.ndarray]


def flatten(tree: Any) -> dict[str, np.ndarray]:
    """Arrays of a tree of mappings, named tuples, lists and tuples, by path, sorted.

    Raises:
      WeightsError: a key cannot be part of a path.
    """
    leaves: dict[str, np.ndarray] = {}
    _flatten(tree, (), leaves)
    return {path: leaves[path] for path in sorted(leaves)}


def _flatten(node: Any, keys: tuple[str, ...], leaves: dict[str, np.ndarray]) -> None:
    if isinstance(node, Mapping):
        children = node.items()
    elif hasattr(node, "_fields"):
        children = zip(node._fields, node, strict=True)
    elif isinstance(node, (list, tuple)):
        children = enumerate(node)
    else:
        leaves[join(keys)] = np.asarray(node)
        return
    for key, child in children:
        _flatten(child, (*keys, str(key)), leaves)


def unflatten(leaves: Leaves) -> dict[str, Any]:
    """The tree of nested dictionaries that holds `leaves`.

    Raises:
      WeightsError: a path leads through another leaf, or is not a path.
    """
    tree: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *parents, last = path.split(SEPARATOR)
        join((*parents, last))
        node = tree
        for key in parents:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise WeightsError(f"the leaf {path!r} lies below another leaf")
        if last in node:
            raise WeightsError(f"the leaf {path!r} has the name of a node that holds other leaves")
        node[last] = leaf
    return tree


def join(keys: tuple[str, ...]) -> str:
    """The path of `keys`.

    Raises:
      WeightsError: a key is empty, not printable or contains `|`, or there are too many.
    """
    if not keys or len(keys) > MAX_DEPTH:
        raise WeightsError(f"weights lie {len(keys)} levels deep, expected 1 to {MAX_DEPTH}")
    for key in keys:
        if not key or SEPARATOR in key or not key.isprintable():
            raise WeightsError(
                f"weights have the key {key!r}, expected printable text without {SEPARATOR!r}"
            )
    return SEPARATOR.join(keys)


def content_hash(leaves: Leaves) -> str:
    """SHA-256 over paths, dtypes, shapes and bytes, in the order of the paths.

    It depends on the arrays alone, so weights converted to another format keep it.

    Returns:
      64 hexadecimal digits.
    """
    digest = hashlib.sha256(b"celo weights 1\n")
    for path in sorted(leaves):
        leaf = np.asarray(leaves[path])
        # dtype and shape fix how many bytes follow, so no two trees share a byte stream.
        head = json.dumps([path, leaf.dtype.name, list(leaf.shape)], separators=(",", ":"))
        digest.update(head.encode() + b"\n")
        digest.update(little_endian(leaf).tobytes("C"))
    return digest.hexdigest()


def little_endian(leaf: np.ndarray) -> np.ndarray:
    """The array in C order with little-endian numbers; itself where it already is so."""
    return np.asarray(leaf, dtype=leaf.dtype.newbyteorder("<"), order="C")


def differences(leaves: Leaves, expected: Iterable[Leaf]) -> list[str]:
    """One text for each leaf that is missing, extra, or of another shape or type."""
    wanted = {leaf.path: leaf for leaf in expected}
    texts = []
    for path in sorted({*wanted, *leaves}):
        found = Leaf(path, leaves[path].shape, leaves[path].dtype.name) if path in leaves else None
        if found != wanted.get(path):
            texts.append(
                f"{path}: expected {wanted.get(path) or 'no such leaf'}, found {found or 'none'}"
            )
    return texts


def non_finite(leaves: Leaves) -> list[str]:
    """One text for each leaf that holds NaN or infinity."""
    texts = []
    for path, leaf in leaves.items():
        if leaf.dtype.kind == "f":
            bad = leaf.size - int(np.count_nonzero(np.isfinite(leaf)))
            if bad:
                texts.append(f"{path}: expected finite numbers, found {bad} of {leaf.size} not")
    return texts


def summarize(texts: list[str]) -> str:
    """The first few of `texts` in one line, then how many more there are."""
    listed = "; ".join(texts[:_LISTED])
    more = len(texts) - _LISTED
    return f"{listed}; and {more} more" if more > 0 else listed
