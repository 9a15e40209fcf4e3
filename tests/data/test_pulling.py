"""Data sets through real processes from a server on this machine that is the hub."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from celo import registry
from celo.cli.data import command
from celo.data import DataSelection, describe, fingerprint, pulling, transfer
from celo.data.decoded import fingerprint_of
from celo.errors import DataError, UsageError
from tests.data.files import random_arrays
from tests.data.hub_files import repository_of
from tests.zoo.hub_server import TOKEN, Hub, serving

MNIST = registry.data_set("mnist").record
REPOSITORY = "datasets/ylecun/mnist"
CELO = "from celo.cli.main import main; main()"
REAL = DataSelection()


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return random_arrays(MNIST, 1300, 200)


@pytest.fixture(scope="module")
def content(arrays: dict[str, np.ndarray]) -> dict[str, bytes]:
    return repository_of(MNIST, arrays)


@pytest.fixture
def hub(
    content: dict[str, bytes], data_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Hub]:
    """For this process (where huggingface_hub reads its endpoint once) and for others."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in [name for name in os.environ if name.upper().endswith("_PROXY")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(pulling, "_TURN", 0.01)
    with serving() as server:
        server.publish(REPOSITORY, content)
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.endpoint)
        template = server.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield server


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CELO, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def celo(*arguments: str, code: int = 0) -> tuple[str, str]:
    process = start(*arguments)
    output, talk = process.communicate(timeout=120)
    assert process.returncode == code, talk
    assert "Traceback" not in talk
    return output, talk


def cached() -> Path:
    return Path(os.environ["CELO_CACHE_DIR"]) / "data"


def test_pull_and_eval(hub: Hub, arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    output, talk = celo("data", "pull", "MNIST", "--format", "json")
    (result,) = json.loads(output)["data"]
    commit = hub.commit_of(REPOSITORY, "main")
    assert result["commit"] == commit and result["downloaded"]
    assert result["repository"] == "ylecun/mnist"
    before = talk[: talk.index("here, every file")]
    assert "in 3 files of ylecun/mnist" in before and "licence  no licence file" in before
    folder = cached() / "mnist"
    names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    assert names == [
        "pulled.json",
        "test/test-00000-of-00001.parquet",
        "train/train-00000-of-00002.parquet",
        "train/train-00001-of-00002.parquet",
    ]
    assert json.loads((folder / "pulled.json").read_text())["commit"] == commit
    assert describe("mnist", REAL).label == (
        "partial (1300 of 60000 train rows, 200 of 10000 test rows)"
    )
    expected = {k: v[..., None] if "images" in k else v.astype(np.int32) for k, v in arrays.items()}
    assert fingerprint("mnist", REAL) == fingerprint_of(expected)
    options = (
        "--steps",
        "2",
        "--seeds",
        "0",
        "--reference",
        "none",
        "--output",
        str(tmp_path / "r"),
    )
    task = ("--task", "ImageMLPAE_Mnist_128x32x128_bs128", "--optimizers", "sgd:lr=0.1")
    output, talk = celo("eval", *task, *options, "--format", "json")
    (cell,) = json.loads(output)["tasks"]
    assert cell["status"] == "done" and np.isfinite(cell["final_loss"])


def _run(*arguments: str, code: int = 0) -> tuple[str, str]:
    result = CliRunner().invoke(command, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout, result.stderr


def test_what_is_here_is_not_fetched_again(hub: Hub) -> None:
    _run("pull", "mnist")
    hub.requests.clear()
    _, talk = _run("pull", "mnist")
    assert "already here" in talk and not hub.requests
    output, _ = _run("pull", "mnist", "--force", "--format", "json")
    assert json.loads(output)["data"][0]["downloaded"]


def test_a_dry_run_fetches_nothing(hub: Hub) -> None:
    output, talk = _run("pull", "mnist", "--dry-run", "--format", "json")
    assert json.loads(output)["data"][0]["bytes"] > 100_000 and "licence" in talk
    assert not any("/resolve/" in request for request in hub.requests)
    assert not list(cached().glob("mnist"))


def test_another_commit_replaces_what_was_here(hub: Hub, content: dict[str, bytes]) -> None:
    first = pulling.pull("mnist")
    name = "mnist/test-00000-of-00001.parquet"
    second = hub.publish(REPOSITORY, {name: content["mnist/train-00000-of-00002.parquet"]})
    assert pulling.pull("mnist").commit == first.commit  # what is here stays
    assert pulling.pull("mnist", revision=second).commit == second
    there = pulling.pulled("mnist")
    assert there is not None and there.commit == second
    assert [p.name for p in cached().iterdir() if not p.name.endswith(".lock")] == ["mnist"]


def test_a_pull_that_was_killed_goes_on_with_its_commit(hub: Hub, content) -> None:
    first = hub.commit_of(REPOSITORY, "main")
    hub.damage, hub.seconds = "slow", 6.0
    process = start("data", "pull", "mnist")
    assert hub.half_sent.wait(60)
    process.kill()
    process.communicate(timeout=20)
    assert describe("mnist", REAL).label == "missing"
    [part] = cached().rglob("*.part")
    arrived = part.stat().st_size
    assert arrived > 0
    hub.damage = None
    hub.publish(REPOSITORY, {"mnist/train-00000-of-00002.parquet": b"other"})
    ranges: list[int] = []
    receive = transfer._receive
    transfer_receive = lambda *a: (ranges.append(a[3].tell()), receive(*a))[1]  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transfer, "_receive", transfer_receive)
        _, talk = _run("pull", "mnist")
    assert "an earlier pull got" in talk
    assert ranges[0] == arrived  # not from the beginning
    done = pulling.pulled("mnist")
    assert done is not None and done.commit == first
    expected = content["mnist/train-00000-of-00002.parquet"]
    assert (done.folder / "train" / "train-00000-of-00002.parquet").read_bytes() == expected


def test_an_interrupted_pull_says_that_it_goes_on(hub: Hub) -> None:
    hub.damage, hub.seconds = "slow", 6.0
    process = start("data", "pull", "mnist", "--format", "json")
    assert hub.half_sent.wait(60)
    process.send_signal(signal.SIGINT)
    output, talk = process.communicate(timeout=20)
    assert process.returncode == 130 and "Traceback" not in talk
    error = json.loads(output)["error"]
    assert error["code"] == "interrupted" and "goes on where it stopped" in error["hint"]


def test_a_connection_that_breaks_is_taken_up_again(hub: Hub) -> None:
    hub.damage = "truncate"  # half of what is asked for, every time
    with pytest.raises(DataError, match="cannot be reached|sent nothing"):
        pulling.pull("mnist")
    gets = [r for r in hub.requests if r.startswith("GET /storage/")]
    assert len(gets) > 5
    hub.damage = None
    assert pulling.pull("mnist").downloaded


def test_a_hub_without_ranges_starts_over(hub: Hub) -> None:
    staging = cached() / ".pulling-mnist"
    hub.damage = "truncate"
    with pytest.raises(DataError):
        pulling.pull("mnist")
    assert list(staging.rglob("*.part"))
    hub.damage = "no-ranges"
    assert pulling.pull("mnist").downloaded


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("swap", "is not what the hub says it is: its checksum is sha256:"),
        ("longer", "the hub sent more of mnist/train"),
        ("nothing", "the hub sent nothing of mnist/train"),
    ],
)
def test_a_file_that_is_not_what_the_hub_says(hub: Hub, damage: str, message: str) -> None:
    hub.damage = damage
    with pytest.raises(DataError, match=message):
        pulling.pull("mnist")
    assert describe("mnist", REAL).label == "missing"
    hub.damage = None
    assert pulling.pull("mnist").downloaded


def test_small_files_in_git_are_checked_too(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"hello\n")
    # as `git hash-object` says
    expected = "git-sha1:ce013625030ba8dba906f756967f9e9ca394464a"
    assert transfer.checksum(tmp_path / "f", "git-sha1:") == expected


def test_what_the_hub_does_not_have(hub: Hub) -> None:
    with pytest.raises(DataError, match="no repository uoft-cs/cifar10, or it is private"):
        pulling.pull("cifar10")
    with pytest.raises(DataError, match="has no revision 'none'"):
        pulling.pull("mnist", revision="none")
    hub.revisions.pop((REPOSITORY, "main"))
    hub.publish(REPOSITORY, {"data/train.parquet": b"elsewhere"})
    with pytest.raises(DataError, match=r"has no file mnist/train-\*.parquet") as caught:
        pulling.pull("mnist")
    assert "rearranged" in (caught.value.hint or "")


def test_a_gated_repository_wants_a_token(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gated = True
    with pytest.raises(DataError, match="it is gated") as caught:
        pulling.pull("mnist")
    assert "huggingface.co/datasets/ylecun/mnist" in (caught.value.hint or "")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert pulling.pull("mnist").downloaded
    assert not any(TOKEN in p.read_text("latin1") for p in cached().rglob("*") if p.is_file())


def test_a_busy_hub_is_asked_again(hub: Hub) -> None:
    hub.statuses = [429, 503]
    assert pulling.pull("mnist").downloaded
    hub.statuses = [500] * 100
    with pytest.raises(DataError, match=r"not available now \(status 500\)") as caught:
        pulling.pull("mnist", force=True)
    assert "goes on where it stopped" in (caught.value.hint or "")


def test_a_hub_that_is_down(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    _, talk = celo("data", "pull", "mnist", code=1)
    assert "the hub cannot be reached" in talk and "run the same command again later" in talk
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match="HF_HUB_OFFLINE is set"):
        pulling.pull("mnist")


def test_too_little_disk_is_told_before_anything_is_fetched(hub: Hub, monkeypatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=64 * 2**20 + 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DataError, match="needs 0.00 GB in .* which has 0.07 GB left"):
        pulling.pull("mnist")
    assert not any("/storage/" in request for request in hub.requests)


def test_a_disk_that_fills_up_while_it_pulls(hub: Hub, monkeypatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(transfer, "_receive", full)
    with pytest.raises(DataError, match="cannot be stored in .*: No space left on device"):
        pulling.pull("mnist")
    blocked = cached().parent / "file"
    blocked.write_bytes(b"")
    monkeypatch.setenv("CELO_CACHE_DIR", str(blocked))
    with pytest.raises(DataError, match="cannot be stored in .*: (Not a directory|File exists)"):
        pulling.pull("mnist")


def test_four_processes_pull_one_set_once(hub: Hub) -> None:
    hub.damage, hub.seconds = "slow", 1.0
    processes = [start("data", "pull", "mnist", "--format", "json") for _ in range(4)]
    results = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, results
    downloaded = [json.loads(output)["data"][0]["downloaded"] for output, _ in results]
    assert sorted(downloaded) == [False, False, False, True]
    assert len([r for r in hub.requests if r.startswith("GET /storage/")]) == 3


def test_a_suite_gets_what_it_can(hub: Hub) -> None:
    output, talk = _run("pull", "--suite", "mlp-mini", "--format", "json", code=3)
    assert [entry["name"] for entry in json.loads(output)["data"]] == ["mnist"]
    assert "fashion_mnist: the hub has no repository zalando-datasets/fashion_mnist" in talk
    _, talk = _run("pull", "--suite", "mlp-mini", code=3)
    assert "mnist: already here, partial (1300 of 60000 train rows" in talk


def test_a_suite_of_which_nothing_can_be_had_fails(hub: Hub) -> None:
    hub.revisions.clear()
    with pytest.raises(DataError, match="no repository"):
        _run("pull", "--suite", "mlp-mini")


def test_sets_that_are_not_on_the_hub(data_folder: Path) -> None:
    with pytest.raises(UsageError, match="digits is not on the hub") as caught:
        pulling.pull("digits")
    assert caught.value.hint == "it is always here"
    assert "give NAMEs or --suite" in CliRunner().invoke(command, ["pull"]).stderr


def test_rm_takes_away_what_was_pulled_and_decoded(hub: Hub) -> None:
    _run("pull", "mnist")
    fingerprint("mnist", REAL)
    listed = {e["name"]: e for e in json.loads(_run("list", "--format", "json")[0])}
    assert listed["mnist"]["decoded_bytes"] > 1500 * 784
    assert listed["mnist"]["hub"] == "ylecun/mnist"
    _run("rm", "mnist", "--decoded")
    assert pulling.pulled("mnist") is not None
    output, _ = _run("rm", "mnist", "--format", "json")
    assert json.loads(output)["bytes"] > 100_000
    assert describe("mnist", REAL).label == "missing"
    assert not list((cached().parent / "decoded").iterdir())


def test_the_list_names_the_command_that_gets_a_set(data_folder: Path) -> None:
    _, talk = _run("list")
    for name in ("mnist", "cifar10", "svhn_cropped"):
        assert f"`celo data pull {name}` fetches it" in talk
