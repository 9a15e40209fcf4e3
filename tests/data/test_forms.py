"""Forms in which people have sets: parquet, folders of images, downsampled ImageNet."""

from __future__ import annotations

import dataclasses
import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from celo import registry
from celo.data import local, parquet, pictures
from celo.data.parts import part_of
from celo.data.preprocess import resize_bilinear
from celo.data.rows import mixing_order
from celo.errors import DataError, DataMissingError
from celo.records import DataSet
from tests.data.files import random_arrays
from tests.data.hub_files import images_parquet, png, text_parquet

CIFAR10 = registry.data_set("cifar10").record
CIFAR100 = registry.data_set("cifar100").record
MNIST = registry.data_set("mnist").record
SMALL = dataclasses.replace(MNIST, image_shape=(4, 5, 1), num_classes=3)


def _read(record: DataSet) -> dict[str, np.ndarray]:
    location = local.locate(record)
    assert location is not None
    return local.read(record, location)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.mark.parametrize(("record", "columns"), [(CIFAR10, ("img", "label")),
                                                  (CIFAR100, ("img", "fine_label"))])  # fmt: skip
def test_parquet(data_folder: Path, record: DataSet, columns: tuple[str, str]) -> None:
    arrays = random_arrays(record, 250, 120)
    train = arrays["train_images"], arrays["train_labels"]
    folder = data_folder / record.name / "plain"
    for i, rows in enumerate([slice(0, 101), slice(101, 250)]):
        content = images_parquet(train[0][rows], train[1][rows], columns=columns)
        _write(folder / f"train-0000{i}-of-00002.parquet", content)
    content = images_parquet(arrays["test_images"], arrays["test_labels"], columns=columns)
    _write(folder / "test-00000-of-00001.parquet", content)
    found = _read(record)
    for key, value in arrays.items():
        np.testing.assert_array_equal(found[key], value)


def test_validation_rows_are_the_test_rows_where_there_are_no_others(data_folder: Path) -> None:
    arrays = random_arrays(MNIST, 30, 20)
    for part, name in (("train", "train"), ("test", "validation")):
        content = images_parquet(arrays[f"{part}_images"], arrays[f"{part}_labels"])
        _write(data_folder / "mnist" / f"{name}-0.parquet", content)
    np.testing.assert_array_equal(_read(MNIST)["test_labels"], arrays["test_labels"])


def _parquet(data_folder: Path, content: bytes, part: str = "train") -> Path:
    arrays = random_arrays(MNIST, 20, 20)
    whole = images_parquet(arrays["train_images"], arrays["train_labels"])
    for name in ("train", "test"):
        _write(data_folder / "mnist" / f"{name}.parquet", content if name == part else whole)
    return data_folder / "mnist" / f"{part}.parquet"


def test_damaged_images_are_named(data_folder: Path) -> None:
    arrays = random_arrays(MNIST, 20, 20)
    images, labels = arrays["train_images"], arrays["train_labels"]
    cut = png(images[7])[:-30]
    path = _parquet(data_folder, images_parquet(images, labels, encoded={7: cut}))
    with pytest.raises(DataError, match=f"{path}: row 7: the image is damaged"):
        _read(MNIST)
    _parquet(data_folder, images_parquet(images, labels, encoded={3: b"no image"}))
    with pytest.raises(DataError, match="row 3: the image is damaged: cannot identify"):
        _read(MNIST)
    _parquet(data_folder, images_parquet(images, labels, encoded={3: png(images[3][:20])}))
    with pytest.raises(DataError, match="row 3: expected an image of 28x28 pixels, found 20x28"):
        _read(MNIST)
    bomb = io.BytesIO()
    Image.new("1", (20_000, 12_000)).save(bomb, "PNG")
    _parquet(data_folder, images_parquet(images, labels, encoded={3: bomb.getvalue()}))
    with pytest.raises(DataError, match="row 3: the image is damaged: .*decompression bomb"):
        _read(MNIST)


def test_damaged_files_are_named(data_folder: Path) -> None:
    arrays = random_arrays(MNIST, 300, 20)
    images, labels = arrays["train_images"], arrays["train_labels"]
    content = images_parquet(images, labels)
    for damaged in (content[:-200], b"", b"PAR1" + b"\xff" * 200 + b"PAR1"):
        path = _parquet(data_folder, damaged)
        with pytest.raises(DataError, match=f"{path}: expected a parquet file, but it cannot"):
            _read(MNIST)
    _parquet(data_folder, images_parquet(images, labels, columns=("pixels", "label")))
    with pytest.raises(DataError, match="expected a column image or img, found pixels, label"):
        _read(MNIST)
    _parquet(data_folder, images_parquet(images, labels, classes=47))
    with pytest.raises(DataError, match="expected 10 classes, found 47") as caught:
        _read(MNIST)
    assert caught.value.hint == "is this mnist?"
    import pyarrow as pa
    import pyarrow.parquet as pq

    kind = pa.struct([("bytes", pa.binary())])
    out = io.BytesIO()
    gaps = {"image": pa.array([None, None], kind), "label": pa.array([1, 2])}
    pq.write_table(pa.table(gaps), out)
    _parquet(data_folder, out.getvalue())
    with pytest.raises(DataError, match="row 0 has no image"):
        _read(MNIST)
    out = io.BytesIO()
    gaps = {"image": pa.array([{"bytes": b""}] * 2, kind), "label": pa.array([1, None])}
    pq.write_table(pa.table(gaps), out)
    _parquet(data_folder, out.getvalue())
    with pytest.raises(DataError, match="expected a label in every row"):
        _read(MNIST)


def test_documents_of_a_parquet_file(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_bytes(text_parquet(["one\n", "", " two words ", "3"]))
    assert [*parquet.read_text(tmp_path / "train.parquet")] == ["one", "two words", "3"]
    (tmp_path / "x.parquet").write_bytes(images_parquet(np.zeros((1, 2, 2), np.uint8), np.ones(1)))
    with pytest.raises(DataError, match="expected a column text, found image, label"):
        next(parquet.read_text(tmp_path / "x.parquet"))


@pytest.mark.parametrize("module", ["pyarrow", "PIL"])
def test_a_missing_library_is_told_with_its_command(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    arrays = random_arrays(MNIST, 20, 20)
    _parquet(data_folder, images_parquet(arrays["train_images"], arrays["train_labels"]))
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError, match=f"needs {'Pillow' if module == 'PIL' else module}") as e:
        _read(MNIST)
    assert e.value.hint == "pip install 'celo[data]'"


def _image_folder(folder: Path, rows: int = 40, suffix: str = ".png") -> np.ndarray:
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (rows, 4, 5)).astype(np.uint8)
    for i, pixels in enumerate(images):
        part = "train" if i < rows - 8 else "test"
        _write(folder / part / f"kind {'cab'[i % 3]}" / f"{i:03d}{suffix}", png(pixels))
    return images


def test_folders_of_images(data_folder: Path) -> None:
    images = _image_folder(data_folder / "mnist")
    (data_folder / "mnist" / "train" / "kind a" / "notes.txt").write_text("no image")
    found = _read(SMALL)
    assert found["train_images"].shape == (32, 4, 5, 1)
    assert found["test_images"].shape == (8, 4, 5, 1)
    # Labels in alphabetical order, every image with its own.
    for image, label in zip(found["train_images"], found["train_labels"], strict=True):
        [number] = np.flatnonzero((images == image[..., 0]).all(axis=(1, 2)))
        assert "abc".index("cab"[number % 3]) == label
    # Not class by class: the first 80 % are for training.
    assert len(set(found["train_labels"][:10].tolist())) == 3
    np.testing.assert_array_equal(_read(SMALL)["train_labels"], found["train_labels"])


def test_another_number_of_classes_is_refused(data_folder: Path) -> None:
    _image_folder(data_folder / "mnist")
    four = dataclasses.replace(SMALL, num_classes=4)
    with pytest.raises(DataError, match="mnist/train: expected 4 classes, found 3"):
        _read(four)
    _write(data_folder / "mnist" / "test" / "kind z" / "1.png", png(np.zeros((4, 5), np.uint8)))
    with pytest.raises(DataError, match="expected the classes of .*train, found kind z"):
        _read(SMALL)


def test_an_image_file_that_is_damaged(data_folder: Path) -> None:
    _image_folder(data_folder / "mnist")
    path = data_folder / "mnist" / "train" / "kind b" / "002.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=f"{path}: the image is damaged"):
        _read(SMALL)


def test_images_of_other_sizes_are_resized_where_the_set_says_so() -> None:
    pixels = np.random.RandomState(0).randint(0, 256, (9, 12, 3)).astype(np.uint8)
    record = dataclasses.replace(CIFAR10, resized=True, image_shape=(6, 6, 3))
    [[found]] = pictures.decode(record, [("here", png(pixels))])
    exact = resize_bilinear(pixels[None], (6, 6))[0]
    assert found.dtype == np.uint8 and abs(found - exact).max() <= 0.5
    [[grey]] = pictures.decode(SMALL, [("here", png(pixels[:4, :5]))])
    assert grey.shape == (4, 5, 1)


def test_downsampled_imagenet(data_folder: Path) -> None:
    record = dataclasses.replace(SMALL, image_shape=(4, 4, 3))
    folder = data_folder / "mnist"
    folder.mkdir()
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (26, 4, 4, 3)).astype(np.uint8)
    labels = random.randint(0, 3, 26)
    flat = images.transpose(0, 3, 1, 2).reshape(26, -1)
    # 2 comes before 10
    for name, rows in (
        ("train_data_batch_2", slice(0, 11)),
        ("train_data_batch_10", slice(11, 20)),
    ):
        np.savez(folder / f"{name}.npz", data=flat[rows], labels=labels[rows] + 1)
    with pytest.raises(DataMissingError, match="train_data_batch_2.npz, but no val_data.npz"):
        _read(record)
    np.savez(folder / "val_data.npz", data=flat[20:], labels=labels[20:] + 1)
    found = _read(record)
    np.testing.assert_array_equal(found["train_images"], images[:20])
    np.testing.assert_array_equal(found["train_labels"], labels[:20])
    np.testing.assert_array_equal(found["test_images"], images[20:])
    with pytest.raises(DataError, match="expected uint8 rows of 20, found uint8") as caught:
        _read(SMALL)
    assert "wants images of 4x5 pixels" in (caught.value.hint or "")
    np.savez(folder / "val_data.npz", data=flat[20:], labels=labels[:, None])
    with pytest.raises(DataError, match="labels: expected 1 axes, found 2"):
        _read(record)
    np.savez(folder / "val_data.npz", data=flat[20:])
    with pytest.raises(DataError, match="with the array labels, but it cannot be read"):
        _read(record)


def test_a_folder_of_something_else(data_folder: Path) -> None:
    record = registry.data_set("svhn_cropped").record
    _write(data_folder / "svhn_cropped" / "train_32x32.mat", b"matlab")
    with pytest.raises(DataMissingError, match="holds no form of svhn_cropped that celo reads"):
        _read(record)


def test_rows_are_mixed_only_where_they_come_by_class() -> None:
    mixed = np.random.RandomState(1).randint(0, 10, 500)
    assert mixing_order(mixed) is None
    order = mixing_order(np.sort(mixed))
    assert order is not None and sorted(order.tolist()) == list(range(500))
    assert len(set(np.sort(mixed)[order][:60].tolist())) == 10
    assert mixing_order(np.zeros(5, int)) is None and mixing_order(np.zeros(1, int)) is None


def test_words_that_name_a_part() -> None:
    names = {
        "train-00000-of-00041.parquet": "train",
        "validation-0.parquet": "valid",
        "val": "valid",
        "news.en.heldout-00000-of-00050": "test",
        "training-monolingual.tokenized.shuffled": "train",
        "restrained.txt": None,
    }
    assert {name: part_of(name) for name in names} == names
