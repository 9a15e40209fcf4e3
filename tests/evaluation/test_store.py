from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celo import files
from celo.errors import StoreError
from celo.evaluation import store
from celo.evaluation.cells import SCHEMA, Schedule
from celo.evaluation.identity import Identity
from celo.evaluation.requests import read_requests
from celo.evaluation.store import Run, RunSettings, put_aside
from tests.evaluation.example_cells import KEY, cell, key

SETTINGS = RunSettings(Schedule(steps=20))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", SETTINGS)


def test_what_is_written_is_read(run: Run) -> None:
    written = cell(status="diverged", reason="r", step=10, hyperparameters={"lr": 0.001})
    run.write(written)
    read = run.read(KEY)
    assert read is not None
    assert (read.key, read.status, read.reason, read.step) == (KEY, "diverged", "r", 10)
    assert read.hyperparameters == {"lr": 0.001} and read.cost == {"ms_per_step": 1.5}
    assert read.curves.keys() == written.curves.keys()
    for name, values in written.curves.items():
        np.testing.assert_array_equal(read.curves[name], values)
        assert read.curves[name].dtype == values.dtype
    assert np.load(run.cell_path(KEY), allow_pickle=False)["eval/xs"].tolist() == [0, 10, 20]


def test_another_key_is_another_file(run: Run) -> None:
    run.write(cell())
    assert run.read(key(seed=1)) is None
    assert run.cell_path(key(weights="a")) != run.cell_path(key(weights="b"))


def test_failed_cells_are_shown_but_computed_again(run: Run) -> None:
    run.write(cell(status="failed", curves={}, reason="boom"))
    assert run.read(KEY) is None
    cells, damaged = run.cells()
    assert [c.status for c in cells] == ["failed"] and not damaged


def test_a_renamed_curve_is_noticed(run: Run) -> None:
    run.write(cell())
    path = run.cell_path(KEY)
    name, other = b"eval/train/loss.npy", b"eval/trbin/loss.npy"
    assert path.read_bytes().count(name) == 2  # local header and directory
    path.write_bytes(path.read_bytes().replace(name, other))
    assert run.read(KEY) is None and not path.exists()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_anywhere_is_noticed(run: Run, data) -> None:
    run.write(cell())
    path = run.cell_path(KEY)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
    else:
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    path.write_bytes(bytes(content))
    found = run.read(KEY)
    if found is None:
        assert not path.exists() and path.with_name(path.name + ".damaged").exists()
    else:  # bytes that zip neither checks nor uses, such as time stamps
        np.testing.assert_array_equal(
            found.curves["eval/train/loss"], cell().curves["eval/train/loss"]
        )


def test_damaged_cells_are_named_by_reports(run: Run) -> None:
    run.write(cell())
    run.write(cell(cell_key=key(seed=1)))
    path = run.cell_path(KEY)
    path.write_bytes(b"nonsense")
    cells, damaged = run.cells()
    assert [c.key.seed for c in cells] == [1]
    assert [d.path for d in damaged] == [path]


def test_a_folder_in_the_place_of_a_cell_is_named_by_reports(run: Run) -> None:
    run.cell_path(KEY).mkdir(parents=True)
    cells, damaged = run.cells()
    assert not cells and [d.reason for d in damaged] == ["Is a directory"]
    assert run.read(KEY) is None


def test_a_key_that_was_changed_is_noticed(run: Run) -> None:
    run.write(cell())
    _with_header(run.cell_path(KEY), key=key(seed=1).to_json())
    cells, damaged = run.cells()
    assert not cells and [d.reason for d in damaged] == ["its key and digest disagree"]


def test_the_cell_of_another_key_is_not_taken(run: Run) -> None:
    run.write(cell())
    other = run.cell_path(key(seed=1))
    os.link(run.cell_path(KEY), other)
    assert run.read(key(seed=1)) is None


def test_torn_files_are_ignored_and_old_ones_removed(run: Run) -> None:
    run.write(cell())
    folder = run.cell_path(KEY).parent
    torn = folder / ".seed0.npz.abc.part"
    torn.write_bytes(b"half")
    assert len(run.cells()[0]) == 1
    run.remove_torn_files()
    assert torn.exists()
    os.utime(torn, (0, 0))
    run.remove_torn_files()
    assert not torn.exists()


def test_cells_of_a_newer_celo_are_refused_by_name(run: Run) -> None:
    run.write(cell())
    path = run.cell_path(KEY)
    with zipfile.ZipFile(path) as archive:
        header = json.loads(archive.read("cell.json"))
    header["schema"] = SCHEMA + 1
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cell.json", json.dumps(header))
    with pytest.raises(StoreError, match="newer celo"):
        run.cells()


def test_a_newer_run_is_refused_by_name_and_nothing_is_touched(run: Run) -> None:
    run.write(cell())
    path = run.cell_path(KEY)
    content = _with_header(path, schema=SCHEMA + 1)
    with pytest.raises(StoreError, match=f"{path.name} was written by a newer celo.*schema 2"):
        run.read(KEY)
    assert path.read_bytes() == content
    file = run.path / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "schema": SCHEMA + 1}))
    for act in (lambda: Run.open(run.path), lambda: Run.create(run.path, SETTINGS)):
        with pytest.raises(StoreError, match="run.json was written by a newer celo"):
            act()


@pytest.mark.parametrize("schema", [0, -1, "1", None, True, 1.0])
def test_schemas_that_never_were_are_damage(run: Run, schema) -> None:
    run.write(cell())
    _with_header(run.cell_path(KEY), schema=schema)
    cells, damaged = run.cells()
    assert not cells and "never written by any celo" in damaged[0].reason


def test_runs_of_the_first_schema_are_read_for_ever(tmp_path: Path) -> None:
    """The folder was written when schema 1 was the only one, and is never written again."""
    folder = tmp_path / "run"
    shutil.copytree(Path(__file__).parent / "fixtures" / "run-schema-1", folder)
    run = Run.create(folder, SETTINGS)
    run.fix_identity(Identity({}, {"digits": "f" * 64}))
    cells, damaged = run.cells()
    assert not damaged
    assert [(c.key.entry, c.key.seed, c.status, c.step) for c in cells] == [
        ("sgd:lr=0.1", 0, "done", None),
        ("sgd:lr=0.1", 1, "diverged", 20),
        ("sgdm:lr=0.1", 0, "failed", 10),
    ]
    asked = key(optimizer="sgd:lr=0.1", entry="sgd:lr=0.1", grid=(), block_seeds=(0, 1))
    found = run.read(asked)
    assert found is not None, "what is asked for today has the name that it had then"
    for name, values in cell().curves.items():
        np.testing.assert_array_equal(found.curves[name], values)
    assert (found.cost, found.provenance) == ({"ms_per_step": 1.5}, {"label": "sgd:lr=0.1"})
    assert [request.entries for request in read_requests(run)] == [("sgd:lr=0.1", "sgdm:lr=0.1")]


def _with_header(path: Path, **changes: object) -> bytes:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    header = {**json.loads(members["cell.json"]), **changes}
    members["cell.json"] = json.dumps(header).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path.read_bytes()


def test_a_run_of_other_settings_is_refused_with_the_difference(run: Run) -> None:
    assert Run.create(run.path, SETTINGS).settings == SETTINGS
    other = RunSettings(Schedule(steps=30), data="synthetic")
    with pytest.raises(StoreError, match="steps: 20 here, 30 asked; data: real here, synthetic"):
        Run.create(run.path, other)


def test_foreign_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(StoreError, match="not empty"):
        Run.create(tmp_path, SETTINGS)
    with pytest.raises(StoreError, match="holds no run"):
        Run.open(tmp_path / "nowhere")
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        Run.open(tmp_path)


def test_names_stand_for_one_thing(run: Run) -> None:
    run.fix_identity(Identity({"celo": "aa"}, {"mnist": "11"}))
    run.fix_identity(Identity({"celo-adam": "bb"}, {"mnist": "11"}))
    with pytest.raises(StoreError, match="celo with other weights: aa here, cc now"):
        run.fix_identity(Identity({"celo": "cc"}, {}))
    with pytest.raises(StoreError, match="mnist with other data"):
        run.fix_identity(Identity({}, {"mnist": "22"}))
    run.fix_identity(Identity({"celo": "aa", "celo-adam": "bb"}, {"mnist": "11"}))


def test_bundled_weights_and_published_ones_are_told_apart(run: Run) -> None:
    bundled = Identity({"celo": "aa"}, {}, {"celo": "bundled"})
    published = Identity({"celo": "cc"}, {}, {"celo": "hub"})
    run.fix_identity(bundled)
    with pytest.raises(StoreError, match=r"weights: aa \(bundled\) here, cc \(hub\) now") as caught:
        run.fix_identity(published)
    assert "NAME@bundled" in (caught.value.hint or "")
    # The same weights found elsewhere are the same, and the first place stays on record.
    run.fix_identity(Identity({"celo": "aa"}, {}, {"celo": "zoo-path"}))
    assert json.loads((run.path / "identity.json").read_text())["origins"] == {"celo": "bundled"}


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"weights": 3, "data": {}}', "{}"])
def test_damaged_names_are_fixed_anew(run: Run, content: str) -> None:
    (run.path / "identity.json").write_text(content)
    run.fix_identity(Identity({"celo": "aa"}, {"mnist": "11"}))
    with pytest.raises(StoreError, match="celo with other weights"):
        run.fix_identity(Identity({"celo": "cc"}, {}))


def test_put_aside_loses_nothing(run: Run) -> None:
    run.write(cell())
    aside = put_aside(run.path)
    assert aside is not None and aside.name == "run.before-1"
    assert not run.path.exists()
    assert len(Run.open(aside).cells()[0]) == 1
    assert put_aside(run.path) is None


def test_a_run_is_not_put_aside_over_another(run: Run, monkeypatch) -> None:
    run.write(cell())
    monkeypatch.setattr(Path, "exists", lambda self: True)
    with pytest.raises(StoreError, match=r"put aside too often; remove some of .*run\.before-\*"):
        put_aside(run.path)
    monkeypatch.undo()
    assert len(run.cells()[0]) == 1


def test_a_run_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "run.json").mkdir()
    with pytest.raises(StoreError, match="run.json cannot be read: Is a directory"):
        Run.open(tmp_path)


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_a_full_disk_is_said_and_leaves_nothing_half(run: Run, monkeypatch, call: str) -> None:
    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    run.write(cell())
    monkeypatch.setattr(files.os, call, fail)
    with pytest.raises(StoreError, match="disk is full") as error:
        run.write(cell(cell_key=key(seed=1)))
    assert "safe" in (error.value.hint or "")
    monkeypatch.undo()
    assert [c.key.seed for c in run.cells()[0]] == [0]
    assert not list(run.path.rglob("*.part"))


def test_notes_are_caches(run: Run, monkeypatch) -> None:
    assert run.read_note("n") == {}
    run.write_note("n", {"a": 1})
    assert run.read_note("n") == {"a": 1}
    (run.path / "notes" / "n.json").write_text("[]")
    assert run.read_note("n") == {}

    def fail(*args, **kwargs):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(store, "write_atomically", fail)
    run.write_note("n", {"a": 2})
