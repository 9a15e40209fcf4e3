"""The real huggingface_hub, pull and push, against a server on this machine that is the hub."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import celo_zoo
from celo_zoo import card, content_hash, write_safetensors
from tests.zoo.fakes import pack
from tests.zoo.hub_server import TOKEN, Hub, serving

NAME, REPOSITORY = "celo2-base", "amoudgl/celo2-base"
CELO = "from celo.cli.main import main; main()"


@pytest.fixture
def server(state: bytes) -> Iterator[Hub]:
    with serving() as hub:
        hub.publish(REPOSITORY, {"theta.state": state})
        yield hub


def start(hub: Hub, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    kept = {k: v for k, v in os.environ.items() if not k.upper().endswith("_PROXY")}
    temporary = Path(os.environ["CELO_CACHE_DIR"]).with_name("tmp")
    temporary.mkdir(exist_ok=True)
    environment = {
        **kept,
        "HF_ENDPOINT": hub.endpoint,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(temporary / "hf"),
        "TMPDIR": str(temporary),
        **variables,
    }
    environment = {k: v for k, v in environment.items() if v or k != "HF_TOKEN"}
    return subprocess.Popen(
        [sys.executable, "-c", CELO, "zoo", *arguments, "--format", "json"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def celo(hub: Hub, *arguments: str, code: int = 0, **variables: str) -> dict:
    process = start(hub, *arguments, **variables)
    output, talk = process.communicate(timeout=40)
    assert process.returncode == code, talk
    assert TOKEN not in output + talk and "Traceback" not in talk
    return json.loads(output)


def files(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*") if path.is_file())


def test_a_pull_by_the_real_client(server, leaves, cache):
    (result,) = celo(server, "pull", NAME)["weights"]
    assert result["revision"] == server.commit_of(REPOSITORY, "main") and result["downloaded"]
    assert result["content_hash"] == content_hash(leaves)
    assert files(cache) == ["record.json", "theta.safetensors"]
    assert any(request.startswith("GET /storage/") for request in server.requests)
    assert celo(server, "verify", "--all")["ok"]


def test_a_busy_hub_is_asked_again(server, cache):
    server.statuses = [429]
    assert celo(server, "pull", NAME)["weights"][0]["downloaded"]
    assert len(server.requests) > 2


def test_a_slow_hub_is_waited_for(server, cache):
    server.damage, server.seconds = "slow", 1.0
    assert celo(server, "pull", NAME)["weights"][0]["downloaded"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((NAME, "--revision", "none"), "no revision 'none'"),
        (("celo",), "no repository amoudgl/celo"),
        (("hf:org/empty",), "has no file theta.state"),
    ],
)
def test_what_the_hub_does_not_have(server, cache, arguments, message):
    assert card("celo").repository == "amoudgl/celo"
    server.publish("org/empty", {"README.md": b"nothing"})
    assert message in celo(server, "pull", *arguments, code=1)["error"]["message"]
    assert not cache.exists()


def test_a_gated_repository_wants_a_token(server, cache):
    server.gated = True
    error = celo(server, "pull", NAME, code=1, HF_TOKEN="")["error"]
    assert "it is gated" in error["message"] and "hf auth login" in error["hint"]
    assert celo(server, "pull", NAME, HF_TOKEN=TOKEN)["weights"][0]["downloaded"]
    for path in cache.rglob("*"):
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("swap", "sha256"),
        ("longer", "failed"),
        ("truncate", "cannot|failed"),
        ("huge", f"{REPOSITORY}/theta.state is larger than 256 MiB"),
    ],
)
def test_a_damaged_transfer_changes_nothing(server, cache, damage, message):
    celo(server, "pull", NAME)
    before = {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()}
    server.damage = damage
    error = celo(server, "pull", NAME, "--force", code=1, HF_HUB_DISABLE_XET="1")["error"]
    assert any(part in error["message"] for part in message.split("|")), error
    assert {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()} == before


def test_a_hub_that_fails(server, cache):
    server.statuses = [500] * 100
    error = celo(server, "pull", NAME, code=1)["error"]
    assert "not available now (status 500)" in error["message"]
    assert not cache.exists()


def test_eight_processes_pull_at_once(server, leaves, cache):
    processes = [start(server, "pull", NAME) for _ in range(8)]
    results = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, results
    assert files(cache) == ["record.json", "theta.safetensors"]
    assert celo_zoo.load_weights(NAME).content_hash == content_hash(leaves)


def test_a_pull_that_is_killed_leaves_nothing_in_the_way(server, cache):
    server.damage, server.seconds = "slow", 8.0
    process = start(server, "pull", NAME)
    assert server.half_sent.wait(30)
    process.kill()
    process.communicate(timeout=10)
    assert not cache.exists() or not list(cache.rglob("theta*"))
    [left] = cache.with_name("tmp").glob("celo-zoo-*")
    server.damage = None
    started = time.monotonic()
    assert celo(server, "pull", NAME)["weights"][0]["downloaded"]
    assert time.monotonic() - started < 20
    assert files(cache) == ["record.json", "theta.safetensors"]
    assert left.exists()  # it might be another process's, which is still at it
    os.utime(left, (time.time() - 2 * 24 * 3600,) * 2)
    celo(server, "pull", NAME, "--force")
    assert not left.exists()


def test_what_is_pushed_pulls_back_equal(server, leaves, cache, tmp_path):
    write_safetensors(tmp_path / "mine" / "theta.safetensors", leaves)
    options = ("--repo", "org/mine", "--licence", "mit", "--optimizer", "celo2-base")
    pushed = celo(server, "push", str(tmp_path / "mine"), *options, HF_TOKEN=TOKEN)
    assert pushed["content_hash"] == content_hash(leaves)
    assert pushed["locator"] == f"hf:org/mine@{pushed['revision']}"
    stored = server.revisions["org/mine", pushed["revision"]]
    assert set(stored) == {"README.md", "theta.safetensors"}
    text = stored["README.md"].decode()
    metadata, body = text.split("---\n")[1:]
    assert "license: mit\n" in metadata and "library_name: celo\n" in metadata
    assert "- learned-optimizer\n" in metadata and pushed["content_hash"] in body
    assert str(tmp_path) not in text + stored["theta.safetensors"].decode("latin1")
    (pulled,) = celo(server, "pull", pushed["locator"])["weights"]
    assert pulled["content_hash"] == content_hash(leaves)
    assert pulled["sha256"] == pushed["sha256"]


def test_who_may_not_push_is_told(server, leaves, cache, tmp_path):
    write_safetensors(tmp_path / "theta.safetensors", leaves)
    error = celo(server, "push", str(tmp_path), "--repo", "org/mine", code=1, HF_TOKEN="")["error"]
    assert "does not let you write to org/mine" in error["message"]
    assert "hf auth login" in error["hint"]
    error = celo(server, "push", str(tmp_path), "--repo", "no", code=2, HF_TOKEN=TOKEN)["error"]
    assert "names no repository" in error["message"]


def test_a_hub_that_gives_back_something_else(server, leaves, cache, tmp_path):
    write_safetensors(tmp_path / "theta.safetensors", leaves)
    server.damage = "swap"
    arguments = ("push", str(tmp_path), "--repo", "org/mine")
    error = celo(server, *arguments, code=1, HF_TOKEN=TOKEN)["error"]
    assert "gives back another file" in error["message"]


def test_the_revision_of_the_card_is_the_default(hub, state, leaves, monkeypatch):
    pinned = hub.publish(REPOSITORY, state)
    hub.publish(REPOSITORY, pack({**leaves, "ff_mod_stack|~|b2": leaves["ff_mod_stack|~|b2"] + 1}))
    entry = dataclasses.replace(card(NAME), revision=pinned)
    monkeypatch.setattr("celo_zoo.loading.source_card", lambda where: entry)
    result = celo_zoo.pull(NAME)
    assert result.record.revision == pinned == hub.calls[0]["revision"]
    assert result.record.content_hash == content_hash(leaves)
