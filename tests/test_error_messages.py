"""The check that lists error messages which no test produces (tests/error_messages)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shared_folder import REPOSITORY

FOLDER = REPOSITORY / "tests" / "error_messages"
SOURCE = """
def explain(error):
    return StoreError(f"it is {error}", hint="do")

def ask(value):
    if value == 1:
        raise explain(value)
    raise errors.UsageError("no")

def silent(error):
    raise KeyError
    raise click.exceptions.Exit(1)
    raise error
    return isinstance(error, ValueError), super().__init__("x")
"""


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))


def test_what_counts_as_a_place_that_makes_an_error() -> None:
    from error_sites import sites_of

    found, _ = sites_of("m", SOURCE)
    assert [(site.line, site.text) for site in found] == [
        (3, "StoreError(f'it is {error}', hint='do')"),
        (7, "explain(value)"),
        (8, "errors.UsageError('no')"),
    ]
    moved, _ = sites_of("m", "\n\n" + SOURCE)
    assert [site.key for site in moved] == [site.key for site in found]
    other, _ = sites_of("m", SOURCE.replace("def ask", "def tell"))
    assert [site.key == before.key for site, before in zip(other, found, strict=True)] == [
        *(True, False, False)
    ]


def test_child_processes_note_what_they_meet(tmp_path: Path) -> None:
    from unmet import unmet

    code = (
        "import os, signal; from celo import registry\n"
        "try: registry.task('none-such')\n"
        "except Exception as error: print(error.message)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "ERRORS_MET_FOLDER": str(tmp_path), "PYTHONPATH": str(FOLDER)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "unknown task 'none-such'\n", done.stderr
    texts = [site.text for path, site in unmet(tmp_path) if path.name == "registry.py"]
    assert not any("f'unknown {self.what}" in text for text in texts)
    assert any("is broken: {broken.reason}" in text for text in texts)


def test_the_list_is_what_one_reads_and_acts_on(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(FOLDER / "unmet.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and not done.stderr
    [line] = [text for text in done.stdout.splitlines() if "guard.py" in text and "Usage" in text]
    assert line.startswith("celo/guard.py:") and "must be a number of seconds" in line
    assert "were met by no test" in done.stdout.splitlines()[-1]
