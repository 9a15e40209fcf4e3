"""Rules about text sets: the documents are those that the record declares, every time."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from celo import registry
from celo.data import DataSelection, sources, text, tokens
from celo.data_parts import Share
from celo.errors import DataMissingError
from celo.protocol import SPLITS
from celo.records import DataSet
from celo.testing.rules import NotApplicable, Rule, Violation, expect

_SHOWN = 40  # characters of a document


@dataclass(eq=False)
class TextSubject:
    """A text set under examination.

    Attributes:
      record: what is declared.
      read: part -> its documents, anew; may not fit into memory.
    """

    record: DataSet
    read: Callable[[str], Iterable[str]]

    @functools.cached_property
    def parts(self) -> dict[str, tuple[int, str]]:
        """Part -> how many documents, and their digest, when first read.

        Raises:
          Violation: something in there is no document.
        """
        return {part: self.examine(part) for part in self.record.splits.parts}

    def examine(self, part: str) -> tuple[int, str]:
        """Reads a part once: number of documents, and sha256 over them."""
        digest, rows = hashlib.sha256(), 0
        for row, document in enumerate(self.read(part)):
            where = f"document {row} of the part {part!r}"
            if not isinstance(document, str):
                raise Violation(f"{where} is {type(document).__name__}, expected str")
            expect(document.strip() != "", f"{where} is empty")
            try:
                digest.update(document.encode() + b"\n")
            except UnicodeEncodeError as error:
                shown = ascii(document[:_SHOWN])
                raise Violation(f"{where} cannot be written as UTF-8: {shown}") from error
            rows += 1
        return rows, digest.hexdigest()


def find_text(name: str) -> TextSubject:
    """The subject of a registered set; reads nothing yet.

    Raises:
      UnknownNameError: no set has this name.
    """
    record = registry.data_set(name).record

    def read(part: str) -> Iterator[str]:
        if record.kind != "text":
            raise NotApplicable("a set of images has no documents")
        try:
            found = sources.find_text(record.name, "bytes", DataSelection())
        except DataMissingError as error:
            raise NotApplicable(error.message) from error
        return text.documents(record, found.files, part)

    return TextSubject(record, read)


def _documents(subject: TextSubject) -> None:
    for part, (rows, _) in subject.parts.items():
        expect(rows > 0, f"the part {part!r} has no documents")


def _counts(subject: TextSubject) -> None:
    declared = {"train": subject.record.train_rows, "test": subject.record.test_rows}
    for part, complete in declared.items():
        rows = subject.parts.get(part, (0, ""))[0]
        expect(rows <= complete, f"the part {part!r} has {rows} documents, {complete} are declared")


def _splits(subject: TextSubject) -> None:
    shares: dict[str, Share] = {name: getattr(subject.record.splits, name) for name in SPLITS}
    train = shares["train"]
    for name, share in shares.items():
        within = 0 <= share.low < share.high <= 100
        expect(within, f"the split {name} is from {share.low} % to {share.high} % of a part")
        rows = tokens.rows_of(share, subject.parts[share.part][0])
        expect(rows.start < rows.stop, f"the split {name} has no documents")
        apart = share.part != train.part or share.high <= train.low or train.high <= share.low
        expect(share is train or apart, f"the split {name} shares documents with train")


def _again(subject: TextSubject) -> None:
    for part, first in subject.parts.items():
        expect(subject.examine(part) == first, f"the part {part!r} is another text when read again")


TEXT_RULES: tuple[Rule[TextSubject], ...] = (
    Rule("documents", "Every part yields documents: texts, none of them empty.", _documents),
    Rule("counts", "A part has at most as many documents as declared.", _counts),
    Rule("splits", "Every split has documents, and none of train's.", _splits),
    Rule("fingerprint", "Read again, the documents are the same to the last character.", _again),
)
