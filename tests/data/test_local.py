from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from celo import registry
from celo.data import local
from celo.errors import DataError
from tests.data.files import random_arrays, write_idx, write_npz

MNIST = registry.data_set("mnist").record
CIFAR100 = registry.data_set("cifar100").record


def _read(record=MNIST) -> dict[str, np.ndarray]:
    location = local.locate(record)
    assert location is not None
    return local.read(record, location)


@pytest.mark.parametrize("form", ["npz", "mnist", "MNIST/raw"])
def test_every_form_gives_the_same_arrays(data_folder: Path, form: str) -> None:
    arrays = random_arrays(MNIST, 300, 20)
    if form == "npz":
        write_npz(data_folder / "mnist.npz", {**arrays, "class_names": np.array(["a"])})
    else:
        write_idx(data_folder / form, arrays, compressed=form == "mnist")
    found = _read()
    np.testing.assert_array_equal(found["train_images"], arrays["train_images"][..., None])
    np.testing.assert_array_equal(found["test_labels"], arrays["test_labels"])
    assert found["train_images"].dtype == np.uint8
    assert found["train_labels"].dtype == np.int32
    assert not any(value.flags.writeable for value in found.values())


def test_the_named_folder_comes_before_the_cache(data_folder: Path, tmp_path: Path) -> None:
    cached = tmp_path / "cache" / "data" / "mnist.npz"
    write_npz(cached, random_arrays(MNIST, 30, 20))
    assert local.locate(MNIST) == local.Location(cached)
    write_npz(data_folder / "mnist.npz", random_arrays(MNIST, 30, 20))
    assert local.locate(MNIST) == local.Location(data_folder / "mnist.npz")


def test_a_folder_that_cannot_be_listed_is_told(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", fail)
    with pytest.raises(DataError, match=f"{data_folder}: cannot be read: .*Permission denied"):
        _ = local.Location(data_folder).stat_key


def test_an_empty_folder_is_not_a_set(data_folder: Path) -> None:
    (data_folder / "mnist").mkdir()
    assert local.locate(MNIST) is None


def test_missing_says_where_to_put_what(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message, hint = local.missing(MNIST)
    assert str(data_folder) in message
    assert f"{tmp_path / 'cache' / 'data'} (no folder)" in message
    assert f"into {data_folder}, or the four IDX files" in hint
    assert str(data_folder / "mnist") in hint
    monkeypatch.delenv("CELO_DATA_DIR")
    _, hint = local.missing(CIFAR100)
    assert str(tmp_path / "cache" / "data" / "cifar-100-python") in hint
    assert "CELO_DATA_DIR" in hint


def test_stat_key_changes_with_the_files(data_folder: Path) -> None:
    arrays = random_arrays(MNIST, 30, 20)
    write_idx(data_folder / "mnist", arrays, compressed=False)
    location = local.locate(MNIST)
    assert location is not None
    before = location.stat_key
    assert location.stat_key == before
    write_idx(data_folder / "mnist", random_arrays(MNIST, 31, 20), compressed=False)
    assert location.stat_key != before


def _change(key: str, value: np.ndarray):
    return lambda arrays: {**arrays, key: value}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            _change("train_images", np.zeros((30, 28, 28), np.float32)),
            "expected uint8, found float",
        ),
        (_change("train_images", np.zeros((30, 28, 27), np.uint8)), "expected rows of shape"),
        (_change("train_images", np.zeros((28, 28), np.uint8)), "expected rows of shape"),
        (_change("train_images", np.zeros((), np.uint8)), "expected rows of shape"),
        (_change("test_images", np.zeros((0, 28, 28), np.uint8)), "1 to 10000 rows, found 0"),
        (_change("test_images", np.zeros((10001, 28, 28), np.uint8)), "10000 rows, found 10001"),
        (_change("test_labels", np.zeros(19, np.uint8)), r"shape \(20,\), found \(19,\)"),
        (_change("test_labels", np.zeros(20, np.float32)), "expected integers, found float32"),
        (_change("test_labels", np.full(20, 10, np.uint8)), "expected 0 to 9, found 10 to 10"),
        (_change("test_labels", np.full(20, -1, np.int8)), "expected 0 to 9, found -1 to -1"),
        (_change("train_labels", np.zeros(300, np.uint8)), "expected 10 classes, found 1"),
        (lambda a: {k: v for k, v in a.items() if k != "test_labels"}, "expected the arrays"),
    ],
)
def test_arrays_that_are_not_the_set_are_refused(data_folder: Path, change, complaint: str) -> None:
    path = data_folder / "mnist.npz"
    write_npz(path, change(random_arrays(MNIST, 300, 20)))
    with pytest.raises(DataError, match=complaint) as caught:
        _read()
    assert str(path) in caught.value.message


@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "empty", "pickle"])
def test_a_damaged_npz_is_named(data_folder: Path, damage: str) -> None:
    path = data_folder / "mnist.npz"
    arrays = random_arrays(MNIST, 300, 20)
    if damage == "pickle":
        arrays["train_images"] = np.array([{"a": 1}], dtype=object)
    write_npz(path, arrays)
    content = path.read_bytes()
    if damage == "flipped":  # zip's check sum sees it
        path.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
    elif damage != "pickle":
        path.write_bytes({"cut": content[:9000], "text": b"no archive", "empty": b""}[damage])
    with pytest.raises(DataError) as caught:
        _read()
    assert str(path) in caught.value.message


def test_row_counts_come_from_the_headers(data_folder: Path) -> None:
    path = data_folder / "mnist.npz"
    write_npz(path, random_arrays(MNIST, 300, 20))
    assert local.row_counts(local.Location(path)) == (300, 20)
    np.savez(path, train_images=1, train_labels=1, test_images=1, test_labels=1)
    with pytest.raises(DataError, match="expected arrays of rows"):
        local.row_counts(local.Location(path))
