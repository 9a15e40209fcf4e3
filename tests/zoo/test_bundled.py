"""Weights that come with the package: when they stand in, and for what they never pass."""

from __future__ import annotations

import json
import socket
import threading
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import celo_zoo
from celo import hub as network
from celo.cli.zoo import command
from celo.errors import UsageError, WeightsError, WeightsMissingError
from celo_zoo import card, load_weights, parse_locator, verify
from tests.zoo.fakes import entry, pack

NAME, REPOSITORY = "celo2-base", "amoudgl/celo2-base"


def test_they_stand_in_and_say_so(own) -> None:
    weights = load_weights(NAME)
    assert weights.origin == "bundled" and weights.content_hash == celo_zoo.content_hash(own)
    assert weights.label == "celo2-base[bundled]" and weights.verified
    assert weights.card is not None and weights.card.summary == "made by a test"
    remark = weights.remark or ""
    assert weights.content_hash[:12] in remark and "\n" not in remark
    assert "the published ones are not here (HF_HUB_OFFLINE is set)" in remark
    assert "`celo zoo pull celo2-base` gets them" in remark
    assert "was not to be used" in (load_weights(NAME, allow_network=False).stand_in or "")


def test_by_their_own_name_they_are_what_was_asked_for(own, hub, state, monkeypatch) -> None:
    hub.publish(REPOSITORY, state)
    weights = load_weights("bundled:Celo2Base")
    assert (weights.source, weights.origin) == ("bundled:celo2-base", "bundled")
    assert weights.label == "bundled:celo2-base" and weights.remark is None
    assert hub.calls == []
    assert load_weights(NAME).origin == "hub"
    assert load_weights("bundled:celo2-base").content_hash == celo_zoo.content_hash(own)
    for text in ("bundled", "bundled:", "bundled:celo", "bundled:../celo2-base"):
        with pytest.raises(WeightsMissingError, match="come with celo") as caught:
            parse_locator(text)
        assert caught.value.hint == "those that do: bundled:celo2-base"
    with pytest.raises(UsageError, match="cannot be pulled"):
        celo_zoo.pull("bundled:celo2-base")


def test_everything_else_comes_first(own, hub, state, leaves, tmp_path, monkeypatch) -> None:
    hub.error = ConnectionError("Network is unreachable")
    assert load_weights(NAME).label == "celo2-base[bundled]"
    hub.error = None
    hub.publish(REPOSITORY, state)
    assert load_weights(NAME).origin == "hub"
    cached = load_weights(NAME)
    assert (cached.origin, cached.label, cached.remark) == ("cache", NAME, None)
    (tmp_path / "zoo" / NAME).mkdir(parents=True)
    (tmp_path / "zoo" / NAME / "theta.state").write_bytes(state)
    monkeypatch.setenv("CELO_ZOO_PATH", str(tmp_path / "zoo"))
    assert load_weights(NAME).origin == "zoo-path"
    places = celo_zoo.places(NAME)
    assert [place.origin for place in places] == ["zoo-path", "cache", "bundled"]
    assert [check.status for check in verify(NAME) if check.status == "failed"] == []


def test_a_hub_that_refuses_is_told_with_the_way_out(own, hub) -> None:
    hub.publish("amoudgl/other", b"")  # so that the repository is one the hub does not have
    with pytest.raises(WeightsError, match="has no repository") as caught:
        load_weights(NAME)
    assert "hf auth login` first; or OPTIMIZER@bundled:celo2-base uses" in (caught.value.hint or "")


def test_they_are_held_against_their_own_card(bundled: Path, own, leaves) -> None:
    folder = bundled / NAME
    celo_zoo.write_safetensors(folder / "theta.safetensors", leaves)
    with pytest.raises(WeightsError, match="content hash .of the card.: expected"):
        load_weights(NAME)
    assert "failed" in {check.status for check in verify("bundled:celo2-base")}
    text = (folder / "card.toml").read_text()
    (folder / "card.toml").write_text("sha265 = 3\n" + text)
    with pytest.raises(WeightsError, match="card.toml is no card of weights: .*sha265"):
        load_weights(NAME)
    assert [(c.what, c.status) for c in verify(NAME)] == [("card", "failed")]
    (folder / "card.toml").unlink()
    with pytest.raises(WeightsError, match="has no card beside it"):
        load_weights(NAME)


def test_entries_of_the_zoo_path_have_their_own_card(leaves, tmp_path, monkeypatch) -> None:
    zoo = tmp_path / "zoo"
    entry(zoo / "mine", leaves)
    (zoo / "bare").mkdir()
    (zoo / "bare" / "theta.state").write_bytes(pack(leaves))
    (zoo / "empty").mkdir()
    monkeypatch.setenv("CELO_ZOO_PATH", str(zoo))
    assert [*celo_zoo.entries()] == [*celo_zoo.cards(), "bare", "mine"]
    mine = load_weights("mine")
    assert mine.verified and mine.card is not None and mine.card.cost == "2 device-hours"
    assert not load_weights("bare").verified
    other = {path: leaf + 1 for path, leaf in leaves.items()}
    celo_zoo.write_safetensors(zoo / "mine" / "theta.safetensors", other)
    with pytest.raises(WeightsError, match="content hash .of the card.: expected"):
        load_weights("mine")


def test_a_card_beside_them_makes_no_weights_the_published_ones(published, tmp_path, monkeypatch):
    """Under a published name only the published weights count."""
    file = celo_zoo.read_weights(published / "celo" / "theta.state")
    entry(tmp_path / "zoo" / "celo", {p: x + 1 for p, x in file.leaves.items()}, "celo")
    monkeypatch.setenv("CELO_ZOO_PATH", str(tmp_path / "zoo"))
    with pytest.raises(WeightsError, match=f"expected {card('celo').content_hash}"):
        load_weights("celo")


def _run(*arguments: str) -> str:
    result = CliRunner().invoke(command, list(arguments))
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_they_are_listed_and_shown(own, leaves, tmp_path, monkeypatch) -> None:
    entry(tmp_path / "zoo" / "mine", leaves)
    (tmp_path / "zoo" / "odd").mkdir()
    (tmp_path / "zoo" / "odd" / "theta.safetensors").write_bytes(b"no")
    monkeypatch.setenv("CELO_ZOO_PATH", str(tmp_path / "zoo"))
    rows = {row["name"]: row for row in json.loads(_run("list", "--format", "json"))}
    assert rows[NAME]["location"] == "not here" and rows[NAME]["content_hash"] is None
    ours = rows["bundled:celo2-base"]
    assert (ours["location"], ours["status"], ours["numbers"]) == ("bundled", "verified", 347)
    assert (rows["mine"]["location"], rows["mine"]["status"]) == ("zoo-path", "verified")
    assert rows["odd"]["status"] == "damaged" and "unknown format" in rows["odd"]["problem"]
    lines = _run("list").splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.split()[:2] == ["bundled:celo2-base", "347"] for line in lines)
    text = _run("show", "mine")
    for part in ("zoo-path (verified)", "as it came", "2 device-hours", "ff_mod_stack|~|w1"):
        assert part in text
    assert "hub" not in text.split("leaves")[0]
    shown = json.loads(_run("show", "bundled:celo2-base", "--format", "json"))
    assert shown["cost"] == "2 device-hours" and shown["path"].endswith("theta.safetensors")
    assert json.loads(_run("path", "bundled:celo2-base", "--format", "json"))["path"]
    (tmp_path / "zoo" / "odd" / "theta.safetensors").unlink()
    checked = json.loads(_run("verify", "--format", "json"))["checks"]
    assert {check["name"] for check in checked} == {"bundled:celo2-base", "mine"}


def test_a_remark_is_a_warning_in_python(own, monkeypatch) -> None:
    import celo
    from celo.loading import BundledWeightsWarning

    with pytest.warns(BundledWeightsWarning, match="made by the celo project") as caught:
        celo.load("celo2-base")
    assert caught[0].filename == __file__
    with pytest.warns(BundledWeightsWarning) as caught:
        _, theta = celo.load_learned("celo2-base")
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, asked = celo.load_learned("celo2-base@bundled")
    for ours, same in zip(own.values(), _sorted(theta), strict=True):
        np.testing.assert_array_equal(ours, same)
    for one, other in zip(_sorted(theta), _sorted(asked), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(WeightsMissingError, match="'learnable-sgd' come with celo"):
        celo.load("learnable-sgd@bundled")


def _sorted(theta) -> list[np.ndarray]:
    from celo.trees import named_leaves

    named = named_leaves(theta)
    return [np.asarray(named[path]) for path in sorted(named)]


def test_plans_and_results_are_labelled(own, tmp_path) -> None:
    from celo.evaluation.config import EvalConfig
    from celo.evaluation.plan import make_plan

    names = ("celo2-base", "celo2-base@bundled", "celo2-base@random")
    tasks = ("Digits_MLP_32",)
    plan = make_plan(
        EvalConfig(optimizers=names, tasks=tasks, reference="none", output=tmp_path / "run")
    )
    assert [entry.label for entry in plan.entries] == [
        "celo2-base[bundled]",
        "celo2-base@bundled",
        "celo2-base@random",
    ]
    assert plan.entries[0].weights_id == plan.entries[1].weights_id


def test_a_worker_neither_searches_again_nor_finds_others(own, tmp_path) -> None:
    from celo.evaluation.config import EvalConfig
    from celo.evaluation.isolation import _pinned
    from celo.evaluation.plan import make_plan

    config = EvalConfig(
        optimizers=("celo2-base",),
        tasks=("Digits_MLP_32",),
        reference="none",
        output=tmp_path / "r",
    )
    assert _pinned(make_plan(config)) == {"HF_HUB_OFFLINE": "1"}
    assert _pinned(make_plan(replace(config, optimizers=("celo2-base@bundled",)))) == {}


@pytest.fixture
def reachable(monkeypatch) -> None:
    """The network is allowed, and no proxy stands before it."""
    import urllib.request

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(urllib.request, "getproxies", dict)
    network._knock.cache_clear()


def test_without_a_network_it_takes_seconds_at_most(own, reachable, monkeypatch) -> None:
    """A machine whose names are never resolved, and one that drops every packet."""
    release = threading.Event()

    def silent(*arguments: object, **options: object) -> None:
        release.wait(20)
        raise OSError("nobody is there")

    monkeypatch.setattr(socket, "create_connection", silent)
    began = time.monotonic()
    assert load_weights(NAME).label == "celo2-base[bundled]"
    assert "huggingface.co does not answer within 2 s" in (load_weights(NAME).stand_in or "")
    assert time.monotonic() - began < 5
    release.set()


def test_whom_it_asks(reachable, monkeypatch) -> None:
    import urllib.request

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
        assert network.knock(2.0) == ""
        # A proxy is asked in its place, whether it says its scheme or not.
        monkeypatch.setenv("HF_ENDPOINT", "https://hub.invalid")
        for proxy in (f"http://127.0.0.1:{port}", f"127.0.0.1:{port}"):
            monkeypatch.setattr(urllib.request, "getproxies", lambda proxy=proxy: {"https": proxy})
            network._knock.cache_clear()
            assert network.knock(2.0) == ""
    network._knock.cache_clear()
    assert "127.0.0.1: Connection refused" in network.knock(2.0)
    monkeypatch.setattr(urllib.request, "getproxies", dict)
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.invalid:port")
    assert network.knock(2.0) == "hub.invalid has no valid port"
