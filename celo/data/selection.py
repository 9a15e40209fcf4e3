"""Which data a command runs on: the real one, unless asked otherwise. No numpy, no JAX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from celo.errors import UsageError
from celo.records import canonical_name

SYNTHETIC = "synthetic"
Source = Literal["real", "synthetic"]


@dataclass(frozen=True)
class DataSelection:
    """The data of a run, as chosen by `--data` and `--published-splits`.

    Attributes:
      synthetic: random pixels and labels in the place of every set.
      substitutes: (set, source) pairs, sorted: sets for which something else stands in.
      published_splits: `train` is the first 1 % of the training rows for the sets for which the
        published code does so, instead of 80 %.
    """

    synthetic: bool = False
    substitutes: tuple[tuple[str, str], ...] = ()
    published_splits: bool = False

    @classmethod
    def parse(cls, text: str | None, *, published_splits: bool = False) -> DataSelection:
        """Reads the value of `--data`.

        Args:
          text: `synthetic`, or `SET=SOURCE[,SET=SOURCE]...`; None or "real" means the real data.
          published_splits: see the attribute.

        Raises:
          UsageError: it is none of these, names a set twice or an unavailable source.
        """
        if text is None or text == "real":
            return cls(published_splits=published_splits)
        if text == SYNTHETIC:
            return cls(synthetic=True, published_splits=published_splits)
        substitutes: dict[str, str] = {}
        for part in text.split(","):
            name, equals, source = (piece.strip() for piece in part.partition("="))
            if not (name and equals and source):
                raise UsageError(
                    f"--data has {part.strip()!r}, expected `synthetic` or SET=SOURCE",
                    hint="for example: --data synthetic, or --data mnist=synthetic",
                )
            if source != SYNTHETIC:
                raise UsageError(
                    f"{source!r} in the place of {name!r} is not available yet",
                    hint=f"a source can be `{SYNTHETIC}` (random rows, labelled as such)",
                )
            if canonical_name(name) in substitutes:
                raise UsageError(f"--data names {name!r} twice, expected every set once")
            substitutes[canonical_name(name)] = source
        return cls(
            substitutes=tuple(sorted(substitutes.items())), published_splits=published_splits
        )

    @property
    def text(self) -> str:
        """What `parse` reads back: `real`, `synthetic` or the substitutes."""
        if self.synthetic:
            return SYNTHETIC
        return ",".join(f"{name}={source}" for name, source in self.substitutes) or "real"

    def source(self, name: str) -> Source:
        """Where the rows of the set `name` come from."""
        if self.synthetic or dict(self.substitutes).get(canonical_name(name)) == SYNTHETIC:
            return SYNTHETIC
        return "real"
