"""Real sets, in the layout in which a user has them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from celo.data import DataSelection, describe
from celo.data.datasets import image_datasets
from tests.shared_folder import data_dir


@pytest.mark.parametrize(("name", "mean"), [("mnist", 0.1325), ("fashion_mnist", 0.2868)])
def test_complete_sets_are_real(data_folder: Path, name: str, mean: float) -> None:
    shutil.copyfile(data_dir() / f"{name}.npz", data_folder / f"{name}.npz")
    state = describe(name, DataSelection())
    assert (state.kind, state.label) == ("real", "real")
    datasets = image_datasets(name, 100)
    assert [datasets.table(s).rows for s in ("train", "outer_valid", "test")] == [
        *(48_000, 6_000, 10_000)
    ]
    test = datasets.table("test").arrays
    np.testing.assert_array_equal(
        np.bincount(test["label"]),
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009] if name == "mnist" else [1000] * 10,
    )
    batches = [next(datasets.test)["image"] for _ in range(100)]
    assert np.mean(batches) == pytest.approx(mean, abs=1e-3)


def test_what_is_not_expanded_is_refused_by_name(data_folder: Path) -> None:
    from celo.errors import DataError

    shutil.copyfile(data_dir() / "cifar10.npz", data_folder / "cifar10.npz")
    with pytest.raises(DataError, match="found .*train_images_delta"):
        describe("cifar10", DataSelection())
