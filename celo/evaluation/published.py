"""Results that other people published, to stand beside ours; never aggregated with them.

They lie in `published.toml`: every figure with its source and how sure it is.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

CERTAINTY = {
    "V": "read in a primary text",
    "S": "secondary source",
    "M": "recalled, no text seen",
    "D": "by definition",
}


@dataclass(frozen=True)
class Source:
    """Where figures come from.

    Attributes:
      name: short.
      title: of the work, with its year.
      link: address or identifier.
    """

    name: str
    title: str
    link: str


@dataclass(frozen=True)
class Published:
    """One published figure.

    Attributes:
      source: name of a `Source`.
      optimizer: whose it is, under the name it has here where it has one.
      figure: what was measured.
      value: the figure; of a range its lower end; None where only words are known.
      text: as published.
      certainty: one of `CERTAINTY`.
      setting: on what.
      metric: the metric of this package that is the same quantity, or "".
    """

    source: str
    optimizer: str
    figure: str
    value: float | None
    text: str
    certainty: str
    setting: str
    metric: str = ""


@lru_cache(maxsize=1)
def published_results() -> tuple[tuple[Source, ...], tuple[Published, ...]]:
    """All sources and all figures, in the order of the file."""
    text = resources.files("celo.evaluation").joinpath("published.toml").read_text("utf-8")
    value = tomllib.loads(text)
    sources = tuple(Source(**fields) for fields in value["source"])
    figures = []
    for fields in value["figure"]:
        number = fields.get("value")
        shown = fields.get("text") or f"{number:g}"
        figures.append(
            Published(
                source=fields["source"],
                optimizer=fields["optimizer"],
                figure=fields["figure"],
                value=None if number is None else float(number),
                text=shown,
                certainty=fields["certainty"],
                setting=fields["setting"],
                metric=fields.get("metric", ""),
            )
        )
    return sources, tuple(figures)
