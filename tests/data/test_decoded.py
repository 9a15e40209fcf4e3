"""Sets decoded once: mapped, shared, made anew when files change, never half there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from celo import registry
from celo.data import DataSelection, decoded, fingerprint, local, sources
from celo.data.mapped import take
from celo.errors import DataError
from celo.records import DataSet
from tests.data.files import random_arrays, write_npz
from tests.data.hub_files import images_parquet

MNIST = registry.data_set("mnist").record
CIFAR10 = registry.data_set("cifar10").record


def _location(record: DataSet = MNIST) -> local.Location:
    location = local.locate(record)
    assert location is not None
    return location


@pytest.fixture
def npz(data_folder: Path) -> Path:
    write_npz(data_folder / "mnist.npz", random_arrays(MNIST, 300, 20))
    return data_folder / "mnist.npz"


def test_the_second_time_nothing_is_decoded(npz: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = decoded.load(MNIST, _location())
    plain = local.read(MNIST, _location())
    assert first.fingerprint == decoded.fingerprint_of(plain)
    for key, value in plain.items():
        np.testing.assert_array_equal(first.arrays[key], value)
        assert isinstance(first.arrays[key], np.memmap) and not first.arrays[key].flags.writeable
        assert first.arrays[key].dtype == value.dtype

    def fail(*arguments: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(local, "open_rows", fail)
    again = decoded.load(MNIST, _location())
    assert (again.fingerprint, again.folder) == (first.fingerprint, first.folder)
    with pytest.raises(AssertionError, match="decoded again"):
        decoded.load(MNIST, _location(), anew=True)


def test_changed_files_are_decoded_anew_and_the_old_copy_goes(npz: Path) -> None:
    before = decoded.load(MNIST, _location())
    arrays = random_arrays(MNIST, 300, 20)
    arrays["train_images"][0, 0, 0] ^= 1
    write_npz(npz, arrays)
    os.utime(npz, ns=(5, 5))
    after = decoded.load(MNIST, _location())
    assert after.fingerprint != before.fingerprint
    assert before.folder is not None and not before.folder.exists()
    assert [copy.folder for copy in decoded.copies()] == [after.folder]


@pytest.mark.parametrize("damage", ["cut", "about", "missing", "schema"])
def test_a_damaged_copy_is_made_anew(npz: Path, damage: str) -> None:
    before = decoded.load(MNIST, _location())
    assert before.folder is not None
    about, images = before.folder / "about.json", before.folder / "train_images.npy"
    expected = np.array(before.arrays["train_images"])
    if damage == "cut":
        images.write_bytes(images.read_bytes()[:-100])
    elif damage == "about":
        about.write_text("{")
    elif damage == "missing":
        images.unlink()
    else:
        about.write_text(about.read_text().replace('"schema": 1', '"schema": 99'))
    after = decoded.load(MNIST, _location())
    assert (after.fingerprint, after.folder) == (before.fingerprint, before.folder)
    np.testing.assert_array_equal(after.arrays["train_images"], expected)


def test_verify_mends_a_copy_in_which_a_bit_has_flipped(npz: Path) -> None:
    copy = decoded.load(MNIST, _location()).folder
    assert copy is not None
    path = copy / "test_images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    told = sources.verify("mnist")
    mended = decoded.load(MNIST, _location())
    assert told == decoded.fingerprint_of(mended.arrays) == mended.fingerprint


def test_rows_that_come_by_class_are_the_same_in_memory_and_in_the_cache(data_folder: Path) -> None:
    arrays = random_arrays(CIFAR10, 90, 40)
    folder = data_folder / "cifar10"
    folder.mkdir()
    for part in ("train", "test"):
        order = np.argsort(arrays[f"{part}_labels"], kind="stable")
        rows = arrays[f"{part}_images"][order], arrays[f"{part}_labels"][order]
        (folder / f"{part}.parquet").write_bytes(images_parquet(*rows))
    found = decoded.load(CIFAR10, _location(CIFAR10))
    assert found.folder is not None
    for key, value in local.read(CIFAR10, _location(CIFAR10)).items():
        np.testing.assert_array_equal(found.arrays[key], value)
    assert len(set(found.arrays["train_labels"][:25].tolist())) == 10


def test_a_file_that_is_not_the_set_leaves_nothing_in_the_cache(npz: Path, tmp_path: Path) -> None:
    arrays = random_arrays(MNIST, 300, 20)
    arrays["test_labels"] = arrays["test_labels"] + 1
    write_npz(npz, arrays)
    with pytest.raises(DataError, match="test_labels: expected 0 to 9, found 1 to 10"):
        decoded.load(MNIST, _location())
    assert not (tmp_path / "cache" / "decoded").exists() or not [
        *(tmp_path / "cache" / "decoded").iterdir()
    ]


def test_a_damaged_image_leaves_nothing_in_the_cache(data_folder: Path, tmp_path: Path) -> None:
    arrays = random_arrays(MNIST, 20, 20)
    (data_folder / "mnist").mkdir()
    for part in ("train", "test"):
        content = images_parquet(
            arrays[f"{part}_images"], arrays[f"{part}_labels"], encoded={19: b"damaged"}
        )
        (data_folder / "mnist" / f"{part}.parquet").write_bytes(content)
    with pytest.raises(DataError, match="row 19: the image is damaged"):
        decoded.load(MNIST, _location())
    assert not [*(tmp_path / "cache" / "decoded").iterdir()]


def test_without_room_small_sets_do_without_the_cache(npz: Path, monkeypatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    found = decoded.load(MNIST, _location())
    assert found.folder is None and not decoded.copies()
    assert found.fingerprint == decoded.fingerprint_of(local.read(MNIST, _location()))
    monkeypatch.setattr(decoded, "_IN_MEMORY", 1000)
    with pytest.raises(DataError, match="takes 0.0 GB when it is decoded, .*has 0.0 GB left") as e:
        decoded.load(MNIST, _location())
    assert "CELO_CACHE_DIR" in (e.value.hint or "")


def test_a_disk_that_fills_up_is_told(npz: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded, "_IN_MEMORY", 1000)

    def full(*arguments: object, **others: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(DataError, match="cannot be written: No space left on device"):
        decoded.load(MNIST, _location())
    monkeypatch.undo()
    monkeypatch.setenv("CELO_CACHE_DIR", str(npz.parent.parent / "cache"))
    assert not list((npz.parent.parent / "cache" / "decoded").glob("*"))


def test_what_vanishes_behind_our_back_is_told(npz: Path, monkeypatch) -> None:
    monkeypatch.setattr(decoded, "_IN_MEMORY", 1000)
    monkeypatch.setattr(decoded, "_read", lambda folder: None)
    with pytest.raises(DataError, match="lost the file that was just written"):
        decoded.load(MNIST, _location())


def test_blocks_that_are_not_what_was_announced(npz: Path, monkeypatch) -> None:
    rows = dict(local.open_rows(MNIST, _location()))
    short = type(rows["test"])(rows["test"].labels, lambda: iter([np.zeros((3, 28, 28), np.uint8)]))
    monkeypatch.setattr(local, "open_rows", lambda *a: {**rows, "test": short})
    with pytest.raises(DataError, match="test: expected an image for each of 20 labels, found 3"):
        decoded.load(MNIST, _location())
    wide = type(rows["test"])(rows["test"].labels, lambda: iter([np.zeros((20, 9, 28), np.uint8)]))
    monkeypatch.setattr(local, "open_rows", lambda *a: {**rows, "test": wide})
    with pytest.raises(DataError, match=r"test_images: expected uint8 rows of shape \(28, 28, 1\)"):
        decoded.load(MNIST, _location())


def test_four_processes_decode_at_once(npz: Path) -> None:
    code = (
        "from celo.data import DataSelection, fingerprint, sources\n"
        "print(fingerprint('mnist', DataSelection()))\n"
        "print(int(sources.load(sources.find('mnist', DataSelection()))['train_images'].sum()))"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    outputs = {process.communicate(timeout=60)[0] for process in processes}
    assert all(process.returncode == 0 for process in processes) and len(outputs) == 1
    [copy] = decoded.copies()
    assert {path.name for path in copy.folder.parent.iterdir()} == {copy.folder.name}


def test_what_a_killed_process_left_goes_in_time(npz: Path, tmp_path: Path) -> None:
    left = tmp_path / "cache" / "decoded" / ".mnist.0123.part"
    left.mkdir(parents=True)
    decoded.load(MNIST, _location())
    assert left.exists()  # its process may still be at it
    os.utime(left, (1e9, 1e9))
    decoded.load(MNIST, _location(), anew=True)
    assert not left.exists()


def test_doctor_tells_how_much_the_copies_take(npz: Path) -> None:
    from celo.cli.doctor import examine

    fingerprint("mnist", DataSelection())
    findings = {finding.name: finding for finding in examine()["cache"]}
    assert "5 files" in findings["decoded"].detail


def test_taking_rows_of_a_mapped_array(tmp_path: Path) -> None:
    array = np.random.RandomState(0).randint(0, 256, (9000, 7)).astype(np.uint8)
    np.save(tmp_path / "a.npy", array)
    from celo.data.mapped import open_mapped

    rows = np.random.RandomState(1).randint(0, 9000, 10_000)
    mapped = open_mapped(tmp_path / "a.npy")
    np.testing.assert_array_equal(take(mapped, rows), array[rows])
    np.testing.assert_array_equal(take(mapped[100:], rows[:5] % 50), array[100:][rows[:5] % 50])
    assert take(mapped, rows[:0]).shape == (0, 7)
