import json
import os
import socket
import threading
import time

import pytest

import celo_zoo
from celo.errors import UsageError, WeightsError, WeightsMissingError
from celo_zoo import card, load_weights, pull, read_record, remove, verify
from tests.zoo.fakes import http_error, pack

NAME = "celo2-base"
REPOSITORY = "amoudgl/celo2-base"


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_first_pull_records_revision_and_hashes(hub, state, leaves, cache):
    commit = hub.publish(REPOSITORY, state)
    result = pull(NAME)
    record = result.record
    assert result.downloaded and not result.verified
    assert result.path == cache / "zoo" / NAME / "theta.safetensors"
    assert (record.revision, record.bytes) == (commit, len(state))
    assert record.content_hash == celo_zoo.content_hash(leaves)
    assert hub.calls[0]["revision"] == "main"
    assert files(cache) == [f"zoo/{NAME}/record.json", f"zoo/{NAME}/theta.safetensors"]
    assert json.loads((cache / "zoo" / NAME / "record.json").read_text())["schema"] == 1
    metadata = celo_zoo.read_weights(result.path).metadata
    assert metadata["original"]["sha256"] == record.sha256
    assert metadata["revision"] == commit


def test_then_it_works_offline(hub, state, monkeypatch):
    hub.publish(REPOSITORY, state)
    pulled = load_weights(NAME)
    hub.error = AssertionError("the network was used")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    weights = load_weights(NAME, allow_network=False)
    assert (pulled.origin, weights.origin) == ("hub", "cache")
    assert weights.content_hash == pulled.content_hash
    assert weights.sha256 == read_record(NAME).sha256  # of the file as published
    assert not pull(NAME).downloaded


def test_published_files_are_verified_and_keep_their_hash(hub, published, cache):
    data = (published / "celo" / "theta.state").read_bytes()
    hub.publish("amoudgl/celo", data)
    result = pull("celo")
    assert result.verified and result.record.content_hash == card("celo").content_hash
    weights = load_weights("celo")
    assert weights.verified and weights.sha256 == card("celo").sha256
    assert weights.path.name == "theta.safetensors"
    metadata = celo_zoo.read_weights(weights.path).metadata
    assert metadata["named_tuples"] == {"lstm_init_state": ["hidden", "cell"]}
    assert {check.status for check in verify("celo")} == {"ok"}


def test_another_file_than_the_cards_is_refused_and_nothing_is_stored(hub, published, cache):
    data = bytearray((published / "celo" / "theta.state").read_bytes())
    data[-10] ^= 1
    hub.publish("amoudgl/celo", bytes(data))
    with pytest.raises(WeightsError) as caught:
        load_weights("celo")
    assert "sha256: expected " + card("celo").sha256 in caught.value.message
    assert files(cache) == []


def test_later_pulls_are_held_against_the_record(hub, state, leaves, cache):
    first = hub.publish(REPOSITORY, state)
    pull(NAME)
    before = {name: (cache / name).read_bytes() for name in files(cache)}
    path = next(iter(leaves))
    second = hub.publish(REPOSITORY, pack({**leaves, path: leaves[path] + 1}))
    assert pull(NAME, force=True).record.revision == first  # the recorded commit, not main
    for revision in ("main", second):
        with pytest.raises(WeightsError, match="record of the first pull") as caught:
            pull(NAME, revision=revision)
        assert f"hf:{REPOSITORY}@{second}" in (caught.value.hint or "")
    after = {name: (cache / name).read_bytes() for name in files(cache)}
    assert after[f"zoo/{NAME}/theta.safetensors"] == before[f"zoo/{NAME}/theta.safetensors"]
    remove(NAME)
    assert pull(NAME).record.revision == second


def test_a_record_without_weights_still_holds(hub, state, leaves):
    hub.publish(REPOSITORY, state)
    pull(NAME).path.unlink()
    hub.revisions.clear()
    path = next(iter(leaves))
    hub.publish(REPOSITORY, pack({**leaves, path: leaves[path] + 1}))
    with pytest.raises(WeightsError, match="no revision"):
        load_weights(NAME)


def test_wrong_leaves_are_refused_before_anything_is_stored(hub, leaves, cache):
    leaves.popitem()
    hub.publish(REPOSITORY, pack(leaves))
    with pytest.raises(WeightsError, match="1 leaf differs"):
        pull(NAME)
    hub.publish(REPOSITORY, b"\x80\x04pickle")
    with pytest.raises(WeightsError, match="is a pickle"):
        pull(NAME)
    assert files(cache) == []


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "no record", "bad record"])
def test_a_damaged_cache_is_refused_with_the_command_that_mends_it(hub, state, cache, damage):
    hub.publish(REPOSITORY, state)
    path = pull(NAME).path
    record = path.with_name("record.json")
    data = bytearray(path.read_bytes())
    if damage == "flip":
        assert b"amoudgl" in data  # a remark in the header: neither structure nor an array
        path.write_bytes(data.replace(b"amoudgl", b"amoudgm"))
    elif damage == "truncate":
        path.write_bytes(data[:-1])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "no record":
        record.unlink()
    else:
        record.write_text(record.read_text().replace("sha256", "sha"))
    with pytest.raises(WeightsError) as caught:
        load_weights(NAME)
    assert str(path.parent) in caught.value.message
    assert f"celo zoo pull {NAME} --force" in (caught.value.hint or "")
    assert "failed" in {check.status for check in verify(NAME)}
    pull(NAME, force=True)
    assert load_weights(NAME).origin == "cache"


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [("schema", 2, "schema 2, this version reads 1"), ("bytes", "9", "bytes is '9'")],
)
def test_a_record_of_another_form_is_refused(hub, state, key, value, reason):
    hub.publish(REPOSITORY, state)
    path = pull(NAME).path.with_name("record.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(WeightsError, match=reason):
        load_weights(NAME)


@pytest.mark.parametrize("fail_at", [1, 2])
def test_a_failed_write_leaves_no_part_and_can_be_repeated(hub, state, cache, monkeypatch, fail_at):
    hub.publish(REPOSITORY, state)
    replace, calls = os.replace, []

    def failing(source, target):
        calls.append(target)
        if len(calls) == fail_at:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(WeightsError, match="cannot write to the cache .*: No space left") as caught:
        load_weights(NAME)
    assert "CELO_CACHE_DIR" in (caught.value.hint or "")
    assert not [name for name in files(cache) if not name.endswith("record.json")]
    assert load_weights(NAME).origin == "hub"


def test_concurrent_pulls_all_succeed(hub, state, cache):
    hub.publish(REPOSITORY, state)
    barrier, results = threading.Barrier(8), []

    def work():
        barrier.wait()
        results.append(pull(NAME, force=True).record.content_hash)

    mask = os.umask(0o022)
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.umask(mask)  # a process has one mask; reading it, as every write does, sets it
    assert len(results) == 8 and len(set(results)) == 1
    assert files(cache) == [f"zoo/{NAME}/record.json", f"zoo/{NAME}/theta.safetensors"]
    assert load_weights(NAME, allow_network=False).content_hash == results[0]


def test_a_repository_without_a_card(hub, state, cache):
    first = hub.publish("some-one/mine", state, file="theta.safetensors")
    weights = load_weights(f"hf:some-one/mine@{first}")
    assert (weights.origin, weights.card, weights.verified) == ("hub", None, False)
    assert weights.label == f"hf:some-one/mine@{first}"
    assert load_weights(f"hf:some-one/mine@{first}", allow_network=False).origin == "cache"
    assert len(hub.calls) == 1
    hub.publish("some-one/theirs", state)
    theirs = load_weights("hf:some-one/theirs").path
    assert theirs.parent.parent == cache / "zoo"  # one folder an entry, whatever its name holds
    names = [call["filename"] for call in hub.calls[1:]]
    assert names == ["theta.safetensors", "theta.state"]
    remove("hf:some-one/theirs")
    with pytest.raises(WeightsMissingError, match="not in the cache"):
        remove("hf:some-one/theirs")


def test_what_cannot_be_pulled(tmp_path, state):
    (tmp_path / "theta.state").write_bytes(state)
    for name in (str(tmp_path), "random"):
        with pytest.raises(UsageError, match="cannot be pulled"):
            pull(name)


def failures():
    from huggingface_hub import errors

    offline = errors.OfflineModeIsEnabled("offline")
    lost = ConnectionError("[Errno 101] Network is unreachable")
    wrapped = ValueError("Force download failed due to the above error.")
    wrapped.__cause__ = lost
    return {
        "gated": (http_error(errors.GatedRepoError, 403), "gated", False),
        "unknown": (http_error(errors.RepositoryNotFoundError, 401), "no repository", False),
        "revision": (http_error(errors.RevisionNotFoundError, 404), "no revision 'main'", False),
        "file": (http_error(errors.RemoteEntryNotFoundError, 404), "no file theta.state", False),
        "token": (http_error(errors.HfHubHTTPError, 401), "status 401", False),
        "gone": (errors.EntryNotFoundError("no"), "no file theta.state at revision 'main'", False),
        "odd": (http_error(errors.HfHubHTTPError, 418), "refused .* .status 418", False),
        "busy": (http_error(errors.HfHubHTTPError, 503), "status 503.; try again", True),
        "offline": (offline, "offline mode", True),
        "unreachable": (wrapped, "cannot be reached .*Network is unreachable", True),
        "local": (errors.LocalEntryNotFoundError("no"), "cannot be reached", True),
        "disk": (OSError(28, "No space left on device"), "No space left", False),
    }


@pytest.mark.parametrize("case", failures())
def test_failures_of_the_hub_in_our_words(hub, cache, case):
    hub.error, reason, is_missing = failures()[case]
    with pytest.raises(WeightsError, match=reason) as caught:
        pull(NAME)
    assert isinstance(caught.value, WeightsMissingError) == is_missing
    assert "\n" not in caught.value.message
    if is_missing:
        assert "celo zoo pull" in (caught.value.hint or "")
    assert files(cache) == []


def test_without_network_the_real_client_gives_up_at_once(monkeypatch):
    def no_network(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.delenv("HF_HUB_OFFLINE")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    start = time.monotonic()
    with pytest.raises(WeightsMissingError, match="cannot pull celo: the hub cannot be reached"):
        pull("celo")
    assert time.monotonic() - start < 5


def test_no_room_for_the_download_is_told(hub, state, cache, monkeypatch):
    hub.publish(REPOSITORY, state)
    monkeypatch.setattr("tempfile.tempdir", str(cache / "none"))
    with pytest.raises(WeightsError, match="no temporary folder"):
        pull(NAME)


def test_no_more_than_the_limit_is_fetched(hub, state, cache, monkeypatch):
    hub.publish(REPOSITORY, state)
    pull(NAME)
    bar = hub.calls[0]["tqdm_class"]
    with bar(total=2**28, disable=True) as progress:
        progress.update(2**28)
        progress.update(-(2**28))  # a transfer that starts again
        progress.update(2**28)
        with pytest.raises(WeightsError, match=f"{REPOSITORY}/theta.state is larger than 256 MiB"):
            progress.update(1)
    with pytest.raises(WeightsError, match="larger than 256 MiB"):
        bar(total=2**28 + 1, disable=True)


def test_a_refusal_amid_the_transfer_reaches_the_user(hub, cache):
    wrapped = ValueError("Force download failed due to the above error.")
    wrapped.__cause__ = WeightsError("too large")
    hub.error = wrapped
    with pytest.raises(WeightsError, match="^too large$"):
        pull(NAME)


def test_what_cannot_be_removed_is_told(hub, state, cache, monkeypatch):
    hub.publish(REPOSITORY, state)
    path = pull(NAME).path

    def fail(folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("shutil.rmtree", fail)
    with pytest.raises(WeightsError, match=f"cannot remove {path.parent}: Permission denied"):
        remove(NAME)
    assert not path.exists()  # first of all: never weights without their record


def test_offline_mode_asks_nobody(hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsMissingError, match="HF_HUB_OFFLINE is set"):
        pull(NAME)
    with pytest.raises(WeightsMissingError, match="network was not to be used"):
        load_weights(NAME, allow_network=False)
    assert hub.calls == []
