"""Rules about data sets: what the record declares is what the loader reads, every time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from celo import registry
from celo.data import DataSelection, local, sources
from celo.data.arrays import KEYS
from celo.errors import DataMissingError
from celo.records import DataSet
from celo.testing.rules import NotApplicable, Rule, expect

Arrays = Mapping[str, np.ndarray]


@dataclass(eq=False)
class DataSubject:
    """A data set under examination.

    Attributes:
      record: what is declared.
      read: reads the arrays `KEYS` anew.
    """

    record: DataSet
    read: Callable[[], Arrays]
    _arrays: Arrays | None = None

    @property
    def arrays(self) -> Arrays:
        """What was read first."""
        if self._arrays is None:
            self._arrays = self.read()
        return self._arrays


def find_data(name: str) -> DataSubject:
    """The subject of a registered set; reads nothing yet.

    Raises:
      UnknownNameError: no set has this name.
    """
    record = registry.data_set(name).record

    def read() -> Arrays:
        if record.kind == "text":
            raise NotApplicable("a text set has no rows of images")
        try:
            found = sources.find(record.name, DataSelection())
        except DataMissingError as error:
            raise NotApplicable(error.message) from error
        return local.read(record, found.location)

    return DataSubject(record, read)


def _shapes(subject: DataSubject) -> None:
    record, arrays = subject.record, subject.arrays
    for key in KEYS:
        expect(key in arrays, f"the array {key!r} is missing")
    for part, complete in (("train", record.train_rows), ("test", record.test_rows)):
        images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
        wanted = record.image_shape
        expect(
            images.shape[1:] == wanted,
            f"'{part}_images' has rows of shape {images.shape[1:]}, expected {wanted}",
        )
        expect(
            1 <= len(images) <= complete,
            f"'{part}_images' has {len(images)} rows, {complete} are declared",
        )
        expect(
            labels.shape == (len(images),),
            f"'{part}_labels' has shape {labels.shape}, expected ({len(images)},)",
        )


def _dtypes(subject: DataSubject) -> None:
    for key in KEYS:
        wanted = "uint8" if key.endswith("images") else "int32"
        found = subject.arrays[key].dtype
        expect(found == wanted, f"{key!r} is {found}, expected {wanted}")


def _values(subject: DataSubject) -> None:
    for key in KEYS:
        labels = key.endswith("labels")
        last = subject.record.num_classes - 1 if labels else subject.record.largest_pixel
        low, high = int(subject.arrays[key].min()), int(subject.arrays[key].max())
        expect(0 <= low and high <= last, f"{key!r} has values {low} to {high}, not 0 to {last}")


def _fingerprint(subject: DataSubject) -> None:
    first, second = subject.arrays, subject.read()
    for key in KEYS:
        same = _digest(first[key]) == _digest(second[key])
        expect(same, f"{key!r} is another array when read again")


def _digest(array: np.ndarray) -> str:
    head = f"{array.dtype.str} {array.shape}\n".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


DATA_RULES: tuple[Rule[DataSubject], ...] = (
    Rule("shapes", "Rows have the declared shape and are at most as many as declared.", _shapes),
    Rule("dtypes", "Images are uint8, labels int32.", _dtypes),
    Rule("values", "Labels and pixels lie in the declared ranges.", _values),
    Rule("fingerprint", "Read again, the arrays are the same to the last bit.", _fingerprint),
)
