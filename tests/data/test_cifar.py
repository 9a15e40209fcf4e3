from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from celo import registry
from celo.data import cifar, pickled
from celo.errors import DataError, DataMissingError
from tests.data.files import python2_batch, random_arrays

CIFAR10 = registry.data_set("cifar10").record


def _rows(arrays: dict[str, np.ndarray], part: str) -> dict[str, Any]:
    images = arrays[f"{part}_images"]
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return {"data": planes, "labels": arrays[f"{part}_labels"].tolist()}


def _write_python2(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    for part, name in (("train", "data_batch_1"), ("test", "test_batch")):
        batch = python2_batch(arrays[f"{part}_images"], arrays[f"{part}_labels"])
        (folder / name).write_bytes(batch)


def test_reads_batches_of_python_2(tmp_path: Path) -> None:
    arrays = random_arrays(CIFAR10, 300, 20)
    _write_python2(tmp_path, arrays)
    found = cifar.load_cifar10(tmp_path)
    for key, value in arrays.items():
        np.testing.assert_array_equal(found[key], value)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_reads_batches_written_again_by_python_3(tmp_path: Path, protocol: int) -> None:
    arrays = random_arrays(CIFAR10, 30, 20)
    for part, name in (("train", "data_batch_3"), ("test", "test_batch")):
        (tmp_path / name).write_bytes(pickle.dumps(_rows(arrays, part), protocol))
    found = cifar.load_cifar10(tmp_path)
    for key, value in arrays.items():
        np.testing.assert_array_equal(found[key], value)


def test_batches_are_joined_in_order(tmp_path: Path) -> None:
    arrays = random_arrays(CIFAR10, 50, 20)
    _write_python2(tmp_path, arrays)
    for number in (2, 5):
        batch = python2_batch(arrays["train_images"][:number], arrays["train_labels"][:number])
        (tmp_path / f"data_batch_{number}").write_bytes(batch)
    found = cifar.load_cifar10(tmp_path)
    images = arrays["train_images"]
    np.testing.assert_array_equal(
        found["train_images"], np.concatenate([images, images[:2], images[:5]])
    )


def test_cifar100_has_the_fine_labels(tmp_path: Path) -> None:
    record = registry.data_set("cifar100").record
    arrays = random_arrays(record, 200, 100)
    for part in ("train", "test"):
        images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
        (tmp_path / part).write_bytes(python2_batch(images, labels, "fine_labels"))
    found = cifar.load_cifar100(tmp_path)
    for key, value in arrays.items():
        np.testing.assert_array_equal(found[key], value)
    (tmp_path / "train").write_bytes(python2_batch(arrays["train_images"], np.zeros(200)))
    with pytest.raises(DataError, match="fine_labels: expected a list of labels"):
        cifar.load_cifar100(tmp_path)


def test_missing_batches_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataMissingError, match="data_batch_1"):
        cifar.load_cifar10(tmp_path)


class _Evil:
    def __init__(self, command: str):
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_no_code_is_run(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "trace"
    for content in (_Evil(f"touch {trace}"), {"data": _Evil(f"touch {trace}"), "labels": [1]}):
        with pytest.raises(DataError, match="plain data"):
            pickled.read_dict(pickle.dumps(content, protocol), "file")
    assert not trace.exists()


@pytest.mark.parametrize(
    "value",
    [
        {"data": np.zeros((2, 3), np.float32)},
        {"data": np.array([object()])},
        {"data": {1, 2}},
        {"data": 1.5},
        {"data": np.dtype("u2")},
        {"data": bytearray(b"x")},
        {(1, 2): "x"},
        [1, 2],
    ],
)
def test_other_contents_are_refused(value: Any) -> None:
    with pytest.raises(DataError, match="file: expected a"):
        pickled.read_dict(pickle.dumps(value, 2), "file")


def test_names_are_never_looked_up() -> None:
    stream = b"\x80\x02}U\x04datacsome_module_that_is_not_there\nthing\ns."
    with pytest.raises(DataError, match="some_module_that_is_not_there.thing"):
        pickled.read_dict(stream, "file")


def test_allowed_names_do_not_combine_into_other_calls() -> None:
    call_of_ndarray = b"\x80\x02}U\x04datacnumpy\nndarray\nK\x05\x85Rs."
    with pytest.raises(DataError, match="a call of numpy.ndarray"):
        pickled.read_dict(call_of_ndarray, "file")
    state_of_a_dict = b"\x80\x02}}b."
    with pytest.raises(DataError, match="state put into dict"):
        pickled.read_dict(state_of_a_dict, "file")


_EMPTY_ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
_BYTE = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (_EMPTY_ARRAY, "damaged: an array without contents"),
        (_EMPTY_ARRAY + b"(K\x01K\x02\x85K\x00\x89U\x02abtb", "something else than unsigned bytes"),
        (
            _EMPTY_ARRAY + b"(K\x01K\x02\x85" + _BYTE + b"\x89U\x01atb",
            r"an array of shape \(2,\) with 1 bytes",
        ),
        (b"K\x01t", "damaged: no mark"),
        (b"K\x01K\x02a", "items put into int"),
    ],
)
def test_streams_that_no_pickler_writes(value: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=f"file: expected a .*{reason}"):
        pickled.read_dict(b"\x80\x02}U\x04data" + value + b"s.", "file")
    whole = _EMPTY_ARRAY + b"(K\x01K\x02\x85" + _BYTE + b"\x89U\x02abtb"
    found = pickled.read_dict(b"\x80\x02}U\x04data" + whole + b"s.", "file")
    np.testing.assert_array_equal(found["data"], [97, 98])


def test_a_batch_that_cannot_be_opened_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_python2(tmp_path, random_arrays(CIFAR10, 20, 20))

    def fail(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(DataError, match="data_batch_1: cannot be read: .*Permission denied"):
        cifar.load_cifar10(tmp_path)


def test_every_cut_is_refused() -> None:
    arrays = random_arrays(CIFAR10, 1, 1)
    stream = python2_batch(arrays["train_images"], arrays["train_labels"])
    assert set(pickled.read_dict(stream, "file")) >= {"data", "labels"}
    for length in [*range(0, 250), *range(250, len(stream), 97)]:
        with pytest.raises(DataError, match="file: expected a"):
            pickled.read_dict(stream[:length], "file")


def test_wrong_shapes_are_named(tmp_path: Path) -> None:
    arrays = random_arrays(CIFAR10, 20, 20)
    _write_python2(tmp_path, arrays)
    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps({"data": np.zeros((3, 7), np.uint8), "labels": [0, 0, 0]}, 2))
    with pytest.raises(DataError, match=r"expected shape \[rows, 3072\], found \(3, 7\)"):
        cifar.load_cifar10(tmp_path)
    path.write_bytes(python2_batch(arrays["train_images"], arrays["train_labels"][:5]))
    with pytest.raises(DataError, match="expected a label a row, found 5 for 20"):
        cifar.load_cifar10(tmp_path)
