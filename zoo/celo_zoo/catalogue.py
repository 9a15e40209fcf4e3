"""Cards: what is known about each set of weights, kept as data.

Those of published weights lie in `cards/*.toml`; those of weights that were meta-trained with celo
(`celo zoo add`, the ones that come with this package among them) lie beside the weights.

Standard library only and quick: listing the zoo must not import numpy, let alone JAX.
"""

from __future__ import annotations

import difflib
import functools
import itertools
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from celo.errors import UnknownNameError, WeightsError

CARD_FILE = "card.toml"
"""Name of a card that lies beside its weights."""

_FOLDER = Path(__file__).parent / "cards"


@dataclass(frozen=True)
class Leaf:
    """One array of a tree of weights.

    Attributes:
      path: keys from the root, joined by `|` (Haiku's keys contain `/`).
      shape: of the array.
      dtype: numpy's name of its type.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"


@dataclass(frozen=True)
class Card:
    """One entry of the zoo. What is not known is None; nothing here is guessed.

    Attributes:
      id: name of the entry, as in `celo zoo pull ID` and `CELO_ZOO_PATH/ID/`.
      optimizer: the optimizer these weights belong to.
      summary: one line.
      repository: `organisation/name` on the Hugging Face hub.
      file: name of the file there.
      licence: of the weights.
      citation: paper.
      recipe: how they were meta-trained.
      data: what on.
      cost: of that.
      limits: known limits.
      leaves: every array, sorted by path; empty: not known.
      aliases: other names of the entry.
      revision: commit on the hub that is pulled, or None: the first pull records it.
      bytes: size of `file`.
      sha256: of `file`, hexadecimal.
      content_hash: of the arrays (`celo_zoo.content_hash`), whatever the file's format.
      named_tuples: nodes that are named tuples in the optimizer's own tree: path -> fields in
        order. All other nodes are dictionaries.
    """

    id: str
    optimizer: str
    summary: str
    repository: str
    file: str
    licence: str = ""
    citation: str = ""
    recipe: str = ""
    data: str = ""
    cost: str = ""
    limits: tuple[str, ...] = ()
    leaves: tuple[Leaf, ...] = ()
    aliases: tuple[str, ...] = ()
    revision: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    content_hash: str | None = None
    named_tuples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def numbers(self) -> int:
        """How many numbers the arrays hold together."""
        return sum(math.prod(leaf.shape) for leaf in self.leaves)


def cards() -> Mapping[str, Card]:
    """All entries by id, sorted."""
    return _cards()


def card(name: str) -> Card:
    """The entry called `name` (case and `_`/`-` do not matter; aliases count).

    Raises:
      UnknownNameError: there is none; the hint names the nearest.
    """
    found = find_card(name)
    if found is not None:
        return found
    known = sorted({*cards(), *_aliases()})
    near = difflib.get_close_matches(_canonical(name), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(cards())}"
    raise UnknownNameError(f"the zoo has no weights called {name!r}", hint=hint)


def find_card(name: str) -> Card | None:
    """As `card`, but None when there is none."""
    canonical = _canonical(name)
    return cards().get(canonical) or _aliases().get(canonical)


def read_card(folder: Path) -> Card | None:
    """The card that lies beside weights in `folder`, or None if there is none.

    Raises:
      WeightsError: it is damaged or says something unknown.
    """
    path = folder / CARD_FILE
    try:
        return _read(tomllib.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise WeightsError(
            f"{path} is no card of weights: {error}",
            hint="make the entry anew with `celo zoo add`, or remove the card: weights are used "
            "without one, unverified",
        ) from error


def expand(pattern: str) -> list[str]:
    """Writes out alternatives in braces: `a{1,2}b` -> `a1b`, `a2b`."""
    parts = re.split(r"\{([^{}]*)\}", pattern)
    choices = [part.split(",") if i % 2 else [part] for i, part in enumerate(parts)]
    return ["".join(choice) for choice in itertools.product(*choices)]


@functools.cache
def _cards() -> Mapping[str, Card]:
    texts = (path.read_text(encoding="utf-8") for path in _FOLDER.glob("*.toml"))
    entries = {entry.id: entry for entry in map(_read, map(tomllib.loads, texts))}
    return MappingProxyType({name: entries[name] for name in sorted(entries)})


@functools.cache
def _aliases() -> Mapping[str, Card]:
    return {alias: entry for entry in _cards().values() for alias in entry.aliases}


def _read(table: dict[str, Any]) -> Card:
    leaves = _leaves(table.pop("leaves").items(), table.pop("dtype", "float32"))
    named = {path: tuple(fields) for path, fields in table.pop("named_tuples", {}).items()}
    for key in ("limits", "aliases"):
        table[key] = tuple(table.get(key, ()))
    # An unknown key is a TypeError here: a misspelt `sha256` must not pass for "not known".
    return Card(**table, leaves=leaves, named_tuples=MappingProxyType(named))


def _leaves(patterns: Iterable[tuple[str, list[int]]], dtype: str) -> tuple[Leaf, ...]:
    leaves = {
        path: Leaf(path, tuple(shape), dtype)
        for pattern, shape in patterns
        for path in expand(pattern)
    }
    return tuple(leaves[path] for path in sorted(leaves))


def _canonical(name: str) -> str:
    return re.sub(r"[_\s]+", "-", name.strip()).lower()
