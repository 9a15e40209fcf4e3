"""Weights to a file, in either format: ours (safetensors) or the published one (flax msgpack)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from celo.errors import UsageError
from celo.files import write_atomically
from celo_zoo import msgpack_format
from celo_zoo.formats import encode_safetensors
from celo_zoo.tree import Leaves

SUFFIXES = {".safetensors": "safetensors", ".state": "flax msgpack"}


def write_weights(
    path: str | os.PathLike[str],
    leaves: Leaves,
    metadata: Mapping[str, Any] | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Writes weights, whole or not at all; the suffix says in which format.

    Args:
      path: ends in `.safetensors` or `.state`.
      leaves: arrays by path (`celo_zoo.flatten`).
      metadata: what JSON can hold; only safetensors keeps it.
      overwrite: replace a file that is there.

    Returns:
      `path`.

    Raises:
      UsageError: another suffix, or there is a file already.
      WeightsError: a path or dtype cannot be written.
      OSError: the disk is full, read-only, ...
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise UsageError(
            f"{path} does not say in which format weights are to be written",
            hint="end it in .safetensors (ours) or .state (flax msgpack, as published)",
        )
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists already", hint="choose another name, or allow overwriting")
    if path.suffix == ".safetensors":
        data = encode_safetensors(leaves, metadata)
    else:
        data = msgpack_format.encode(leaves)
    write_atomically(path, lambda file: file.write(data))
    return path
