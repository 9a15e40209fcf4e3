from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from celo import registry
from celo.data import DataSelection, describe, fingerprint, sources
from celo.errors import DataError, DataMissingError, UnknownNameError
from tests.data.files import random_arrays, write_idx, write_npz

REAL = DataSelection()
SYNTHETIC = DataSelection(synthetic=True)
PUBLISHED = DataSelection(published_splits=True)
MNIST = registry.data_set("mnist").record


def test_digits_are_always_there(data_folder: Path) -> None:
    state = describe("digits", REAL)
    assert (state.kind, state.label, state.missing) == ("real", "real", None)
    assert state.stat_key.startswith("scikit-learn ")
    arrays = sources.load(sources.find("digits", REAL))
    assert arrays["train_images"].shape == (1438, 8, 8, 1)
    assert arrays["test_images"].shape == (359, 8, 8, 1)
    assert arrays["train_images"].max() == 16


def test_a_set_whose_carrier_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(DataMissingError, match="comes with scikit-learn, which is not") as caught:
        sources.find("digits", REAL)
    assert caught.value.hint == "pip install scikit-learn"
    assert describe("digits", REAL).missing == caught.value.message


def test_digits_are_those_of_scikit_learn_in_another_order() -> None:
    from sklearn.datasets import load_digits

    arrays = sources.load(sources.find("digits", REAL))
    ours = np.concatenate([arrays["train_images"], arrays["test_images"]]).reshape(1797, 64)
    images, labels = load_digits(return_X_y=True)
    order, theirs = np.lexsort(ours.T), np.lexsort(images.T)
    np.testing.assert_array_equal(ours[order], images[theirs])
    found = np.concatenate([arrays["train_labels"], arrays["test_labels"]])
    np.testing.assert_array_equal(found[order], labels[theirs])
    # Mixed: every part of the cut has all classes in about their shares.
    assert np.bincount(arrays["test_labels"]).min() >= 20
    assert (found != labels).mean() > 0.5


def test_missing_is_a_state_and_an_error_with_the_same_words(data_folder: Path) -> None:
    state = describe("mnist", REAL)
    assert state.label == "missing"
    assert state.missing is not None and str(data_folder) in state.missing
    with pytest.raises(DataMissingError) as caught:
        fingerprint("mnist", REAL)
    assert (caught.value.message, caught.value.hint) == (state.missing, state.hint)


def test_a_part_of_a_set_is_labelled(data_folder: Path) -> None:
    write_npz(data_folder / "mnist.npz", random_arrays(MNIST, 300, 10_000))
    state = describe("mnist", REAL)
    assert state.kind == "partial"
    assert state.label == "partial (300 of 60000 train rows)"
    assert state.location == str(data_folder / "mnist.npz")
    write_idx(data_folder / "fashion_mnist", random_arrays(MNIST, 300, 20), compressed=True)
    label = "partial (300 of 60000 train rows, 20 of 10000 test rows)"
    assert describe("fashion_mnist", REAL).label == label


def test_a_complete_set_is_real(data_folder: Path) -> None:
    write_npz(data_folder / "mnist.npz", random_arrays(MNIST, 60_000, 10_000))
    state = describe("mnist", REAL)
    assert (state.kind, state.label) == ("real", "real")


@pytest.mark.parametrize("selection", [SYNTHETIC, DataSelection.parse("mnist=synthetic")])
def test_synthetic_needs_no_files(data_folder: Path, selection: DataSelection) -> None:
    state = describe("mnist", selection)
    assert (state.kind, state.label, state.missing) == ("synthetic", "synthetic", None)
    assert state.stat_key == "synthetic 2"
    assert fingerprint("mnist", selection) == fingerprint("mnist", SYNTHETIC)


def test_synthetic_rows_are_uniform_and_differ_between_sets() -> None:
    arrays = sources.load(sources.find("mnist", SYNTHETIC))
    assert arrays["train_images"].shape == (10_240, 28, 28, 1)
    assert arrays["test_images"].shape == (1024, 28, 28, 1)
    assert (arrays["train_images"].min(), arrays["train_images"].max()) == (0, 255)
    assert abs(arrays["train_images"].mean() - 127.5) < 0.5
    assert np.bincount(arrays["train_labels"]).min() > 900
    assert fingerprint("mnist", SYNTHETIC) != fingerprint("fashion_mnist", SYNTHETIC)
    assert sources.load(sources.find("digits", SYNTHETIC))["train_images"].max() == 16


def test_synthetic_rows_never_change() -> None:
    assert fingerprint("digits", SYNTHETIC)[:16] == "6da85e5583c5c14f"


def test_fingerprint_does_not_depend_on_the_form(data_folder: Path) -> None:
    arrays = random_arrays(MNIST, 300, 20)
    write_idx(data_folder / "mnist", arrays, compressed=True)
    first = fingerprint("mnist", REAL)
    wide = {key: value.astype(np.int64) if "labels" in key else value[..., None]
            for key, value in arrays.items()}  # fmt: skip
    write_npz(data_folder / "mnist.npz", wide)
    assert sources.find("mnist", REAL).location != first
    assert fingerprint("mnist", REAL) == first


@pytest.mark.parametrize("key", ["train_images", "train_labels", "test_images", "test_labels"])
def test_fingerprint_sees_one_changed_value(data_folder: Path, key: str) -> None:
    arrays = random_arrays(MNIST, 150, 20)
    path = data_folder / "mnist.npz"
    write_npz(path, arrays)
    before = fingerprint("mnist", REAL)
    arrays[key].flat[-1] = (arrays[key].flat[-1] + 1) % 10
    write_npz(path, arrays)
    os.utime(path, ns=(1, 1))
    assert fingerprint("mnist", REAL) != before


def test_published_splits_show_where_they_change_something(data_folder: Path) -> None:
    record = registry.data_set("cifar100").record
    write_npz(data_folder / "cifar100.npz", random_arrays(record, 200, 100))
    write_npz(data_folder / "mnist.npz", random_arrays(MNIST, 300, 20))
    assert describe("cifar100", PUBLISHED).label.endswith("first 1 % for training")
    assert describe("cifar100", PUBLISHED).stat_key != describe("cifar100", REAL).stat_key
    assert fingerprint("cifar100", PUBLISHED) != fingerprint("cifar100", REAL)
    assert describe("mnist", PUBLISHED) == describe("mnist", REAL)
    assert fingerprint("mnist", PUBLISHED) == fingerprint("mnist", REAL)


def test_damage_is_an_error(data_folder: Path) -> None:
    (data_folder / "mnist.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match="cannot be read"):
        describe("mnist", REAL)


def test_unknown_names_get_the_nearest(data_folder: Path) -> None:
    with pytest.raises(UnknownNameError) as caught:
        describe("mnits", REAL)
    assert "mnist" in (caught.value.hint or "")
