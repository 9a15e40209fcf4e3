"""Which part of a set a file holds, by the words in its name. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_WORDS = {
    **{"train": "train", "training": "train"},
    **{"valid": "valid", "validation": "valid", "val": "valid", "dev": "valid"},
    **{"test": "test", "heldout": "test"},
}


def part_of(name: str) -> str | None:
    """ "train", "valid" or "test", by the first such word in the name of a file or folder."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((_WORDS[word] for word in words if word in _WORDS), None)


def train_and_test(folder: Path, paths: Iterable[Path]) -> dict[str, list[Path]] | None:
    """Files or folders by part; validation rows are the test rows where there are no others.

    Args:
      folder: that they are in; its own name says nothing.
      paths: in the order in which their rows count.

    Returns:
      "train" and "test", both with at least one path, or None.
    """
    found: dict[str, list[Path]] = {}
    for path in paths:
        names = path.relative_to(folder).parts
        part = next(filter(None, map(part_of, names)), None)
        if part is not None:
            found.setdefault(part, []).append(path)
    test = found.get("test") or found.get("valid")
    return {"train": found["train"], "test": test} if "train" in found and test else None
