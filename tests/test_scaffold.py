"""What `celo plugins new` refuses; tests/e2e/test_third_party.py installs what it writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from celo.errors import UsageError
from celo.scaffold import write_package
from tests.cli.process import celo


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("My_Opt", "celo plugins new my-opt"),
        ("../../etc", "celo plugins new etc"),
        ("9lives", "celo plugins new my-optimizer"),
        ("a--b", "celo plugins new a-b"),
        ("-a", "celo plugins new a"),
        ("löwe", "celo plugins new l-we"),
        ("x\n", "celo plugins new x"),
        ("", "celo plugins new my-optimizer"),
        ("x" * 41, "celo plugins new " + "x" * 40),
    ],
)
def test_bad_names_are_refused(name: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be the name") as error:
        write_package(name, tmp_path)
    assert error.value.hint == f"for example: {hint}"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("adam", "'adam' is taken by an optimizer of celo"),
        ("zoo", "would be the package celo_zoo"),
        ("plugins", "would be the package celo_plugins"),
    ],
)
def test_taken_names_are_refused(name: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=complaint):
        write_package(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_existing_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "celo-mine").mkdir()
    os.symlink(tmp_path / "nowhere", tmp_path / "celo-link")
    for name in ("mine", "link"):
        with pytest.raises(UsageError, match="exists already"):
            write_package(name, tmp_path)
    assert not list((tmp_path / "celo-mine").iterdir())


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **keywords: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(UsageError, match="cannot write .*: No space left on device"):
        write_package("mine", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("learned", [False, True])
def test_what_is_written_is_clean(learned: bool, tmp_path: Path) -> None:
    written = write_package("two-words", tmp_path / "new", learned=learned)
    assert written.folder == tmp_path / "new" / "celo-two-words"
    found = {str(p.relative_to(written.folder)) for p in written.folder.rglob("*") if p.is_file()}
    assert found == set(written.files) and "celo_two_words/records.py" in found
    assert not any("$" in (written.folder / file).read_text() for file in written.files)
    rules = ["--isolated", "--line-length", "100"]
    for command in (["check", "--select", "E,F,I,UP,B"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *rules, str(written.folder)],
            cwd=tmp_path,  # in the checkout ruff would take celo for first-party
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout


def test_the_prefix_is_not_doubled(tmp_path: Path) -> None:
    assert write_package("celo-mine", tmp_path).distribution == "celo-mine"


def test_the_command_says_what_it_wrote(tmp_path: Path) -> None:
    done = celo("plugins", "new", "mine", "--learned", cwd=tmp_path)
    assert done.returncode == 0 and "celo-mine/celo_mine/optimizer.py" in done.stdout
    assert "pip install -e celo-mine" in done.stderr
    again = celo("plugins", "new", "mine", "--format", "json", cwd=tmp_path)
    assert again.returncode == 2
    assert "exists already" in json.loads(again.stdout)["error"]["message"]
