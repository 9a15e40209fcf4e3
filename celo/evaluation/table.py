"""A table before it is drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Table:
    """A table before it is drawn.

    Attributes:
      title: one line.
      columns: headings.
      rows: cells.
      numeric: indices of right-aligned columns.
      group: the first column only says to which group a row belongs.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[int, ...]
    group: bool = False

    def about(self, note: str) -> Table:
        """The same table with a note behind its title."""
        return replace(self, title=f"{self.title} ({note})")
