from __future__ import annotations

import os
from pathlib import Path

import pytest

from celo.files import cache_dir, write_atomically


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CELO_CACHE_DIR", str(tmp_path / "mine"))
    assert cache_dir() == tmp_path / "mine"
    monkeypatch.delenv("CELO_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "celo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == Path.home() / ".cache" / "celo"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    write_atomically(path, lambda file: file.write(b"old"))

    def half(file) -> None:
        file.write(b"ne")
        raise OSError("pulled the plug")

    with pytest.raises(OSError, match="plug"):
        write_atomically(path, half)
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == ["file"]


def test_files_get_the_usual_permissions(tmp_path: Path) -> None:
    path, plain = tmp_path / "file", tmp_path / "plain"
    write_atomically(path, lambda file: file.write(b"x"))
    plain.write_bytes(b"x")
    assert path.stat().st_mode == plain.stat().st_mode
