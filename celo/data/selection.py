"""Which data a command runs on: the real one, unless asked otherwise. No numpy, no JAX."""

from __future__ import annotations

from dataclasses import dataclass

from celo import registry
from celo.data.splits import has_published_split
from celo.errors import UsageError
from celo.records import DataSet, canonical_name

REAL = "real"
SYNTHETIC = "synthetic"


@dataclass(frozen=True)
class DataSelection:
    """The data of a run, as chosen by `--data` and `--published-splits`.

    Attributes:
      synthetic: random pixels and labels in the place of every set.
      substitutes: (set, source) pairs in canonical form, sorted: sets for which something else
        stands in, random rows ("synthetic") or another set.
      published_splits: `train` is the first 1 % of the training rows for the sets for which the
        published code does so, instead of 80 %; random rows are cut like any others.
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
          UsageError: it is none of these, names a set twice, or a source that cannot stand in.
          UnknownNameError: no set has such a name.
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
                    hint="for example: --data synthetic, or --data lm1b=wikitext2",
                )
            if canonical_name(name) in substitutes:
                raise UsageError(f"--data names {name!r} twice, expected every set once")
            substitutes[canonical_name(name)] = _checked_source(name, source)
        return cls(
            substitutes=tuple(sorted(substitutes.items())), published_splits=published_splits
        )

    @property
    def text(self) -> str:
        """What `parse` reads back: `real`, `synthetic` or the substitutes."""
        if self.synthetic:
            return SYNTHETIC
        return ",".join(f"{name}={source}" for name, source in self.substitutes) or "real"

    def source(self, name: str) -> str:
        """Where the rows of the set `name` come from: "real", "synthetic" or another set."""
        if self.synthetic:
            return SYNTHETIC
        return dict(self.substitutes).get(canonical_name(name), REAL)

    def published_split(self, name: str) -> bool:
        """Whether `train` of the set `name` is the first 1 %, of which random rows have too few."""
        wanted = self.published_splits and has_published_split(name)
        return wanted and self.source(name) != SYNTHETIC


def _checked_source(name: str, source: str) -> str:
    """Canonical name of what stands in for a set, if it can."""
    record = registry.data_set(name).record
    if canonical_name(source) == SYNTHETIC:
        return SYNTHETIC
    other = registry.data_set(source).record
    problem = _mismatch(record, other)
    if problem is not None:
        raise UsageError(
            f"{other.name} cannot stand in for {record.name}: {problem}",
            hint=f"`celo data list` shows the sets; `{record.name}={SYNTHETIC}` always works",
        )
    return canonical_name(other.name)


def _mismatch(record: DataSet, other: DataSet) -> str | None:
    if record.name == other.name:
        return "it is the same set"
    if record.kind != other.kind:
        what = {"image": "images", "text": "text"}
        return f"it is a set of {what[other.kind]}, expected one of {what[record.kind]}"
    if record.kind == "image" and record.image_shape != other.image_shape:
        ours, theirs = ("x".join(map(str, r.image_shape)) for r in (record, other))
        return f"its images are {theirs}, expected {ours}"
    if other.num_classes > record.num_classes:
        return f"it has {other.num_classes} classes, expected at most {record.num_classes}"
    return None
