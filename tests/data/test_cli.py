from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result

from celo import registry
from celo.cli.data import command
from tests.data.files import random_arrays, write_npz

MNIST = registry.data_set("mnist").record


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=False)


def test_list_shows_what_is_here_and_how_to_get_the_rest(data_folder: Path) -> None:
    write_npz(data_folder / "mnist.npz", random_arrays(MNIST, 300, 10_000))
    result = _run("list")
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.stdout.splitlines() if line}
    assert "partial (300 of 60000 train rows)" in lines["mnist"]
    assert str(data_folder / "mnist.npz") in lines["mnist"]
    assert "scikit-learn" in lines["digits"]
    assert "missing" in lines["cifar10"]
    assert "cifar10.npz (uint8 arrays" in result.stderr
    assert str(data_folder / "cifar-10-batches-py") in result.stderr


def test_list_as_json_is_a_bare_array(data_folder: Path) -> None:
    records = json.loads(_run("list", "--format", "json").stdout)
    by_name = {record["name"]: record for record in records}
    assert by_name["digits"]["status"] == "here"
    assert by_name["mnist"]["status"] == "missing"
    assert by_name["mnist"]["image_shape"] == [28, 28, 1]
    assert str(data_folder) in by_name["mnist"]["hint"]


def test_verify_all_is_content_with_missing_sets(data_folder: Path) -> None:
    write_npz(data_folder / "mnist.npz", random_arrays(MNIST, 300, 20))
    result = _run("verify", "--format", "json")
    assert result.exit_code == 0
    by_name = {record["name"]: record for record in json.loads(result.stdout)}
    assert len(by_name["mnist"]["fingerprint"]) == 64
    assert by_name["cifar10"]["status"] == "missing"


def test_verify_of_a_missing_set_says_where_to_put_it(data_folder: Path) -> None:
    result = _run("verify", "mnist", "digits")
    assert result.exit_code == 3
    assert str(data_folder / "mnist") in result.stderr


def test_verify_of_a_damaged_set_fails(data_folder: Path) -> None:
    path = data_folder / "mnist.npz"
    write_npz(path, random_arrays(MNIST, 300, 20))
    content = path.read_bytes()
    path.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
    result = _run("verify", "MNIST")
    assert result.exit_code == 1
    assert str(path) in result.stderr
    assert _run("list").exit_code == 0  # the headers are fine


def test_a_folder_that_lacks_a_file_says_which(data_folder: Path) -> None:
    (data_folder / "cifar10").mkdir()
    (data_folder / "cifar10" / "test_batch").write_bytes(b"")
    result = _run("verify", "cifar10")
    assert result.exit_code == 3
    assert f"{data_folder / 'cifar10'} has no data_batch_1" in result.stderr


def test_jax_is_not_imported(data_folder: Path) -> None:
    write_npz(data_folder / "mnist.npz", random_arrays(MNIST, 300, 20))
    code = (
        "import sys; from celo.cli.data import command;"
        "command.main(['verify', 'mnist'], standalone_mode=False);"
        "assert not {'jax', 'haiku', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
