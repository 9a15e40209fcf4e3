from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from celo import registry
from celo.data import DataSelection, sources
from celo.data.datasets import image_datasets
from celo.data.sampling import batch_indices, gather
from celo.errors import DataError, DataMissingError
from celo.protocol import SPLITS
from celo.records import DataSet
from tests.data.files import random_arrays, write_npz

SYNTHETIC = DataSelection(synthetic=True)


def test_nothing_is_touched_before_the_first_batch(data_folder: Path) -> None:
    datasets = image_datasets("cifar10", 128, (8, 8), grayscale=True)
    assert datasets.abstract_batch["image"] == jax.ShapeDtypeStruct((128, 8, 8, 1), jnp.float32)
    assert datasets.abstract_batch["label"] == jax.ShapeDtypeStruct((128,), jnp.int32)
    assert datasets.extra_info == {"num_classes": 10}
    iterator = datasets.train
    with pytest.raises(DataMissingError, match="cifar10 is not on this machine"):
        next(iterator)


@pytest.mark.parametrize(
    ("name", "size", "grayscale"),
    [
        ("mnist", None, False),
        ("mnist", (8, 8), False),
        ("cifar10", (8, 8), True),
        ("cifar10", None, True),
        ("digits", None, False),
        ("digits", (8, 8), True),
    ],
)
def test_iterator_and_table_draw_the_same_batches(
    name: str, size: tuple[int, int] | None, grayscale: bool
) -> None:
    datasets = image_datasets(name, 100, size, grayscale, SYNTHETIC)
    table = datasets.table("outer_valid")
    key = jax.random.fold_in(jax.random.PRNGKey(0), SPLITS.index("outer_valid"))
    indices = batch_indices(key, 0, 70, rows=table.rows, batch_size=100)
    draw = jax.jit(lambda arrays, i: gather(table, arrays, i))
    for number in range(70):
        batch = next(datasets.outer_valid)
        if number not in (0, 1, 2, 63, 64, 69):
            continue
        compiled = draw(table.arrays, indices[number])
        assert batch.keys() == compiled.keys() == {"image", "label"}
        for field, expected in datasets.abstract_batch.items():
            for found in (batch[field], compiled[field]):
                assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
            np.testing.assert_array_equal(batch[field], compiled[field])


@pytest.mark.parametrize(("name", "largest"), [("mnist", 255), ("digits", 16)])
def test_images_at_their_own_size_stay_bytes(name: str, largest: int) -> None:
    table = image_datasets(name, 64, selection=SYNTHETIC).table("test")
    arrays = sources.load(sources.find(name, SYNTHETIC))
    assert table.arrays["image"].dtype == np.uint8
    assert table.arrays["image"].shape == (1024, np.prod(arrays["test_images"].shape[1:]))
    batch = table.decode({key: value[:5] for key, value in table.arrays.items()})
    expected = arrays["test_images"][:5].astype(np.float32) / largest
    np.testing.assert_allclose(batch["image"], expected, rtol=0, atol=1e-7)
    assert batch["image"].max() <= 1
    np.testing.assert_array_equal(batch["label"], arrays["test_labels"][:5])


def test_resized_images_are_floats() -> None:
    table = image_datasets("cifar10", 64, (8, 8), True, SYNTHETIC).table("train")
    image = table.arrays["image"]
    assert (image.dtype, image.shape) == (np.float32, (8192, 64))
    pixels = sources.load(sources.find("cifar10", SYNTHETIC))["train_images"][0].astype(float)
    assert image[0, 0] == pytest.approx(pixels[1:3, 1:3].mean() / 255, rel=1e-6)


def test_splits_are_the_declared_rows() -> None:
    datasets = image_datasets("digits", 64)
    tables = [datasets.table(name) for name in SPLITS]
    assert [table.rows for table in tables] == [1150, 144, 144, 359]
    arrays = sources.load(sources.find("digits", DataSelection()))
    train = np.concatenate([table.arrays["label"] for table in tables[:3]])
    np.testing.assert_array_equal(train, arrays["train_labels"])
    np.testing.assert_array_equal(tables[3].arrays["label"], arrays["test_labels"])


def test_published_splits_shrink_the_training_rows(data_folder: Path) -> None:
    record = registry.data_set("cifar100").record
    write_npz(data_folder / "cifar100.npz", random_arrays(record, 2000, 100))
    published = DataSelection(published_splits=True)
    datasets = image_datasets("cifar100", 16, selection=published)
    assert datasets.table("train").rows == 20
    assert datasets.table("inner_valid").rows == 200
    with pytest.raises(
        DataError, match="the train split of cifar100 has 20 rows, expected at least"
    ):
        image_datasets("cifar100", 32, selection=published).table("train")


def test_the_same_split_is_the_same_object() -> None:
    datasets = image_datasets("digits", 64)
    assert datasets.split("train") is datasets.train is iter(datasets.train)
    assert datasets.table("train") is datasets.table("train")
    for method in (datasets.split, datasets.table):
        with pytest.raises(ValueError, match="no split is called 'valid'"):
            method("valid")


def test_tasks_of_one_set_share_its_rows() -> None:
    first, second = (image_datasets("mnist", b, selection=SYNTHETIC) for b in (32, 64))
    images = first.table("train").arrays["image"], second.table("train").arrays["image"]
    assert np.shares_memory(*images)
    with pytest.raises(ValueError, match="read-only"):
        images[0][0] = 0


def test_changed_files_are_read_again(data_folder: Path) -> None:
    record = registry.data_set("mnist").record
    for rows in (300, 310):
        write_npz(data_folder / "mnist.npz", random_arrays(record, rows, 20))
        assert image_datasets("mnist", 8).table("train").rows == 0.8 * rows


def test_threads_share_one_stream() -> None:
    threaded, alone = (image_datasets("digits", 64) for _ in range(2))
    start = threading.Barrier(8)

    def take(_: int) -> list[bytes]:
        start.wait()
        return [next(threaded.train)["image"].tobytes() for _ in range(25)]

    with ThreadPoolExecutor(8) as pool:
        taken = [batch for batches in pool.map(take, range(8)) for batch in batches]
    expected = [next(alone.train)["image"].tobytes() for _ in range(200)]
    assert sorted(taken) == sorted(expected)


@pytest.mark.parametrize("form", [{}, {"image_shape": (8, 8, 1)}, {"num_classes": 10}])
def test_a_record_of_images_says_their_form(form: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="'x': images need image_shape and num_classes"):
        DataSet("x", "x", "nowhere:load", "image", 1, 1, "mit", **form)
