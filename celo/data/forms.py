"""In which forms the files of a set are accepted, besides the common one `NAME.npz`."""

from __future__ import annotations

from dataclasses import dataclass

from celo.records import DataSet


@dataclass(frozen=True)
class Form:
    """How a set lies on disk and what its pixels mean.

    Attributes:
      folders: where its original files may lie, relative to a data folder; the first that exists
        is used.
      files: what these files are, for messages.
      largest_pixel: the pixel value that becomes 1.
      carrier: for embedded sets: the distribution that brings it.
    """

    folders: tuple[str, ...] = ()
    files: str = ""
    largest_pixel: int = 255
    carrier: str | None = None


_IDX = "the four IDX files train-images-idx3-ubyte[.gz], train-labels-idx1-ubyte[.gz], t10k-..."

FORMS = {
    "mnist": Form(("mnist", "MNIST/raw"), _IDX),
    "fashion_mnist": Form(("fashion_mnist", "FashionMNIST/raw"), _IDX),
    "cifar10": Form(
        ("cifar-10-batches-py", "cifar10/cifar-10-batches-py", "cifar10"),
        "the python batches data_batch_1 ... data_batch_5, test_batch",
    ),
    "cifar100": Form(
        ("cifar-100-python", "cifar100/cifar-100-python", "cifar100"),
        "the python files train, test",
    ),
    "svhn_cropped": Form(),
    "digits": Form(largest_pixel=16, carrier="scikit-learn"),
}


def form_of(record: DataSet) -> Form:
    """The forms of a set; one that is not listed here may have a folder of its own name."""
    return FORMS.get(record.name) or Form((record.name,), f"the files that {record.load} reads")
