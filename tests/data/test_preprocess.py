from __future__ import annotations

import numpy as np
import pytest

from celo.data.preprocess import prepare, resize_bilinear
from tests.shared_folder import data_dir, golden_dir

CASES = [
    ("in28_u8", "out28_to_8", (8, 8), False),
    ("in28_u8", "out28_native", (28, 28), False),
    ("in28_u8", "out28_to_16", (16, 16), False),
    ("in32_u8", "out32_to_8_gray", (8, 8), True),
    ("in32_u8", "out32_to_8", (8, 8), False),
    ("in32_u8", "out32_to_16", (16, 16), False),
    ("in32_u8", "out32_native", (32, 32), False),
    ("in_100x75_u8", "out_100x75_to_64", (64, 64), False),
]


@pytest.mark.parametrize(("source", "expected", "size", "grayscale"), CASES)
def test_golden_preprocess(
    source: str, expected: str, size: tuple[int, int], grayscale: bool
) -> None:
    path = golden_dir() / "tasks__preprocess.npz"
    if not path.exists():
        pytest.skip(f"{path.name} is not there")
    with np.load(path, allow_pickle=False) as golden:
        found = prepare(golden[source], size, grayscale=grayscale)
        np.testing.assert_allclose(found, golden[expected], rtol=0, atol=1e-6)
    assert found.dtype == np.float32


def test_32_to_8_is_the_mean_of_four_pixels() -> None:
    images = np.random.RandomState(0).randint(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    four = sum(images[:, y::4, x::4].astype(np.float32) for y in (1, 2) for x in (1, 2))
    np.testing.assert_array_equal(resize_bilinear(images, (8, 8)), four / 4)


def test_enlarging_repeats_the_border() -> None:
    images = np.array([0, 4], np.uint8).reshape(1, 1, 2, 1)
    found = resize_bilinear(images, (1, 4)).ravel()
    np.testing.assert_array_equal(found, [0, 1, 3, 4])


def test_many_rows_are_resized_like_few() -> None:
    images = np.random.RandomState(0).randint(0, 256, (5000, 4, 4, 1)).astype(np.uint8)
    together = resize_bilinear(images, (3, 3))
    alone = np.concatenate(
        [resize_bilinear(images[i : i + 1], (3, 3)) for i in (0, 4095, 4096, 4999)]
    )
    np.testing.assert_array_equal(together[[0, 4095, 4096, 4999]], alone)


def test_grey_is_the_plain_mean_after_scaling() -> None:
    images = np.array([[0, 51, 255]], np.uint8).reshape(1, 1, 1, 3)
    found = prepare(images, (1, 1), grayscale=True)
    assert found.shape == (1, 1, 1, 1)
    np.testing.assert_allclose(found.item(), 0.4, rtol=1e-6)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_8x8_versions_of_real_sets(name: str) -> None:
    with np.load(data_dir() / "fast_velo_8x8.npz", allow_pickle=False) as small:
        integers = small[f"{name}_test_images_int"]
        divisor = np.float32(small[f"{name}_divisor"])
        labels = small[f"{name}_test_labels"]
    with np.load(data_dir() / f"{name}.npz", allow_pickle=False) as full:
        grey = name != "cifar10"
        images = full["test_images"][..., None] if grey else _undelta(full["test_images_delta"])
        all_labels = full["test_labels"]
    prepared = prepare(images, (8, 8), grayscale=True)[..., 0]
    # The small set is a shuffled part of the whole: find each of its rows there.
    found = {
        np.rint(row * divisor).astype(np.uint16).tobytes(): i for i, row in enumerate(prepared)
    }
    rows = [found[row.tobytes()] for row in integers]
    np.testing.assert_array_equal(all_labels[rows], labels)
    # The mean over the colours is rounded; everything else is exact.
    tolerance = 0 if grey else 2e-7
    expected = integers.astype(np.float32) / divisor
    np.testing.assert_allclose(prepared[rows], expected, rtol=0, atol=tolerance)


def _undelta(stored: np.ndarray) -> np.ndarray:
    planes = np.cumsum(stored, axis=-1, dtype=np.uint8)
    planes[:, 0] += planes[:, 1]
    planes[:, 2] += planes[:, 1]
    return planes.transpose(0, 2, 3, 1)
