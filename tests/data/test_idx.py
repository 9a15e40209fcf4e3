from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from celo import registry
from celo.data import idx
from celo.errors import DataError, DataMissingError
from tests.data.files import random_arrays, write_idx

MNIST = registry.data_set("mnist").record


@pytest.mark.parametrize("compressed", [False, True])
def test_reads_the_original_files(tmp_path: Path, compressed: bool) -> None:
    arrays = random_arrays(MNIST, 30, 20)
    write_idx(tmp_path, arrays, compressed)
    found = idx.load(tmp_path)
    assert found.keys() == arrays.keys()
    for key, value in arrays.items():
        np.testing.assert_array_equal(found[key], value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write_idx(tmp_path, random_arrays(MNIST, 30, 20), False)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataMissingError, match="t10k-labels-idx1-ubyte"):
        idx.load(tmp_path)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda data: data[:-5], "expected 23520 bytes behind the header, found 23515"),
        (lambda data: data + b"x", "expected 23520 bytes behind the header, found more"),
        (lambda data: data[:7], "expected an IDX file of unsigned bytes with 3 axes"),
        (lambda data: b"\0\0\x0d\x03" + data[4:], "starts with 00000d03"),
        (lambda data: b"", "starts with nothing"),
    ],
)
def test_damage_is_named(tmp_path: Path, damage, complaint: str) -> None:
    write_idx(tmp_path, random_arrays(MNIST, 30, 20), False)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=complaint) as caught:
        idx.load(tmp_path)
    assert str(path) in caught.value.message


@pytest.mark.parametrize(
    "content",
    [b"no gzip at all", gzip.compress(b"\0\0\x08\x03" * 99)[:-20]],
    # gzip holds the time of day, and workers must agree on names.
    ids=["no gzip", "cut short"],
)
def test_a_damaged_compressed_file_is_named(tmp_path: Path, content: bytes) -> None:
    write_idx(tmp_path, random_arrays(MNIST, 30, 20), True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        idx.load(tmp_path)
    assert str(path) in caught.value.message
