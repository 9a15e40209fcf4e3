"""What the record of a data set (`celo.records.DataSet`) is made of; no JAX.

Standard library only. To be imported from `celo.records`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class HubSource:
    """Where a set can be had on the Hugging Face hub, as parquet files.

    Attributes:
      repository: `org/name` of a dataset repository.
      files: (part, pattern) pairs: which of its files belong to "train", "valid" or "test"; in a
        pattern `*` matches anything.
      revision: branch, tag or commit; what it stands for is fixed when a pull begins.
      remark: how it differs from what the published tasks used; "" if it does not.
    """

    repository: str
    files: tuple[tuple[str, str], ...]
    revision: str = "main"
    remark: str = ""


@dataclass(frozen=True)
class Share:
    """A part of a text set, or a range of its documents.

    Attributes:
      part: as the files of the set name it: "train", "valid" or "test".
      low: where the range starts, in percent of the part's documents.
      high: where it ends.
    """

    part: str
    low: int = 0
    high: int = 100


@dataclass(frozen=True)
class TextSplits:
    """Which documents of a text set each of the four splits holds."""

    train: Share = Share("train", 2, 100)
    inner_valid: Share = Share("train", 0, 1)
    outer_valid: Share = Share("train", 1, 2)
    test: Share = Share("test")

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that are needed, each once."""
        shares = (self.train, self.inner_valid, self.outer_valid, self.test)
        return tuple(dict.fromkeys(share.part for share in shares))
