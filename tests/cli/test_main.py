"""The command line as a whole: names, help, exit codes, where things are printed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from celo.cli.main import COMMANDS
from tests.cli.process import CELO, celo


def test_help_lists_every_command() -> None:
    done = celo("--help")
    assert done.returncode == 0 and done.stderr == ""
    for name in COMMANDS:
        assert f"  {name} " in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself(name: str) -> None:
    done = celo(name, "--help", COLUMNS="80")
    assert done.returncode == 0 and done.stdout.startswith(f"Usage: celo {name}")
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["eval", "--help"],
        ["plugins", "list"],
        ["plugins", "show", "celo"],
        ["tasks", "list"],
        ["suites", "show", "quickstart"],
    ],
)
def test_what_only_looks_imports_no_jax(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom celo.cli.main import main\n"
        f"try:\n main({arguments!r})\nexcept SystemExit as e:\n assert e.code == 0, e.code\n"
        "bad = [m for m in ('jax', 'pandas', 'rliable', 'haiku') if m in sys.modules]\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_misspelt_commands_get_the_nearest() -> None:
    done = celo("pluginz")
    assert done.returncode == 2
    assert "Did you mean plugins?" in done.stderr and done.stdout == ""


def test_errors_are_json_when_json_was_asked_for() -> None:
    done = celo("eval", "--optimizers", "adamm", "--suite", "quickstart", "--format", "json")
    assert done.returncode == 2
    value = json.loads(done.stdout)
    assert value["schema"] == 1 and value["error"]["code"] == "unknown-name"
    assert "adam" in value["error"]["hint"]
    assert "adamm" in done.stderr


def test_tracebacks_are_shown_on_request_only() -> None:
    arguments = ["eval", "--optimizers", "adamm", "--suite", "quickstart"]
    assert "Traceback" not in celo(*arguments).stderr
    assert "Traceback" in celo(*arguments, "--debug").stderr


def test_a_closed_pipe_is_no_error() -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {CELO} plugins list --format json | head -c 1"],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "[" and done.stderr == "" and done.returncode == 0
    closed = subprocess.run(["bash", "-c", f"{CELO} plugins list >&-"], capture_output=True)
    assert b"defect" not in closed.stderr


def test_lists_are_bare_arrays_of_records() -> None:
    for command in ("plugins", "tasks", "suites", "data", "zoo"):
        value = json.loads(celo(command, "list", "--format", "json").stdout)
        assert isinstance(value, list) and all(record["name"] for record in value), command


def test_plugins_show() -> None:
    done = celo("plugins", "show", "ADAM")
    assert "tuned over" in done.stdout and "1e-07" in done.stdout
    value = json.loads(celo("plugins", "show", "celo", "--format", "json").stdout)
    assert value["reads"] == ["num_steps", "loss"] and value["origin"]["distribution"] == "celo"


def test_broken_plugins_are_one_row(bad_plugins: Path) -> None:
    (bad_plugins / "celo_bad.py").write_text("import sys; sys.exit('no licence')")
    done = celo("plugins", "list")
    assert done.returncode == 0
    assert "broken: SystemExit: no licence" in done.stdout and "celo-phase1" in done.stdout
    assert "is broken" in celo("plugins", "show", "nan").stderr


def test_completion_knows_the_names() -> None:
    def complete(line: str) -> list[str]:
        words = line.split(" ")
        done = celo(COMP_WORDS=line, COMP_CWORD=str(len(words) - 1), _CELO_COMPLETE="bash_complete")
        return [entry.partition(",")[2] for entry in done.stdout.splitlines()]

    assert "celo-adam" in complete("celo eval --optimizers celo-")
    assert "quickstart" in complete("celo eval --suite qu")
    assert "Digits_MLP_32" in complete("celo eval --task Digits_MLP_3")
    assert "complete" in celo("completion", "zsh").stdout
