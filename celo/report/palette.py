"""Colours that colour-blind people tell apart, on light and on dark paper.

Eight hues, each 3:1 or more against its background (WCAG 1.4.11), the first five chosen so that
they differ as seen with protanopia and deuteranopia too; times dashes and markers: up to 40
optimizers differ by line, not by hue alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LIGHT_PAPER, DARK_PAPER = "#ffffff", "#14171c"
_HUES = (
    ("#0a4a9c", "#2f8cff"),  # blue
    ("#b04400", "#d9722a"),  # vermilion
    ("#1a9b84", "#22936b"),  # green
    ("#e04fc0", "#e884d2"),  # pink
    ("#b98510", "#f5c02b"),  # gold
    ("#2b8ba8", "#7fd6f2"),  # sky
    ("#7a4a2b", "#c99d7c"),  # brown
    ("#6b6f76", "#a3a9b3"),  # grey
)
_DASHES = ((), (6, 3), (2, 2), (8, 3, 2, 3), (12, 4))
_MARKERS = ("circle", "square", "triangle-up", "diamond", "cross")


@dataclass(frozen=True)
class Style:
    """How one optimizer is drawn everywhere.

    Attributes:
      light: colour on light paper.
      dark: colour on dark paper.
      dash: lengths of strokes and gaps; () for a solid line.
      marker: shape of points, in the words of Vega.
    """

    light: str
    dark: str
    dash: tuple[int, ...]
    marker: str


def styles(entries: Sequence[str], reference: str | None) -> dict[str, Style]:
    """A style for each entry: the reference black (white on dark), the others in their order."""
    found = {}
    others = [entry for entry in entries if entry != reference]
    for index, entry in enumerate(others):
        light, dark = _HUES[index % len(_HUES)]
        family = index // len(_HUES) % len(_DASHES)
        found[entry] = Style(light, dark, _DASHES[family], _MARKERS[family])
    if reference in entries and reference is not None:
        found[reference] = Style("#1b1e23", "#f2f4f7", (), "circle")
    return {entry: found[entry] for entry in entries}
