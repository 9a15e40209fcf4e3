import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celo.errors import UnknownNameError, UsageError, WeightsError, WeightsMissingError
from celo_zoo import (
    Leaf,
    card,
    cards,
    content_hash,
    load_weights,
    parse_locator,
    places,
    read_weights,
    verify,
    weights_path,
    write_safetensors,
)
from tests.zoo.fakes import pack


@pytest.fixture
def zoo(tmp_path, monkeypatch) -> Path:
    """An empty folder that CELO_ZOO_PATH names."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    monkeypatch.setenv("CELO_ZOO_PATH", str(folder))
    return folder


def put(folder: Path, name: str, data: bytes, file: str = "theta.state") -> Path:
    (folder / name).mkdir(exist_ok=True)
    (folder / name / file).write_bytes(data)
    return folder / name / file


@pytest.mark.parametrize("name", ["celo", "celo-adam"])
def test_published_weights_load_from_the_zoo_path(published, monkeypatch, name):
    monkeypatch.setenv("CELO_ZOO_PATH", str(published))
    weights = load_weights(name, expected=card(name).leaves)
    assert (weights.source, weights.label, weights.origin) == (name, name, "zoo-path")
    assert weights.verified and weights.card is card(name)
    assert weights.content_hash == card(name).content_hash
    assert weights.sha256 == card(name).sha256
    assert weights.path == published / name / "theta.state" == weights_path(name)
    state = weights.tree["lstm_init_state"]
    assert set(state) == {"hidden", "cell"} and state["hidden"].shape == (1, 64)
    assert (
        weights.tree["rnn_params"]["rnn/linear"]["w"] is weights.leaves["rnn_params|rnn/linear|w"]
    )
    with pytest.raises(ValueError, match="read-only"):
        state["hidden"][0, 0] = 1


def test_names_are_forgiving(published, monkeypatch):
    monkeypatch.setenv("CELO_ZOO_PATH", str(published))
    assert load_weights("Celo_Adam").source == "celo-adam"


def test_a_converted_file_is_the_same_weights(published, zoo):
    leaves = read_weights(published / "celo" / "theta.state").leaves
    write_safetensors(zoo / "celo" / "theta.safetensors", leaves)
    weights = load_weights("celo")
    assert weights.verified and weights.content_hash == card("celo").content_hash


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(position=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255), data=st.data())
def test_any_flipped_byte_is_refused(published, zoo, position, flip, data):
    """In the zoo's folder under a card's name; both formats."""
    original = (published / "celo-adam" / "theta.state").read_bytes()
    leaves = read_weights(published / "celo-adam" / "theta.state").leaves
    if data.draw(st.booleans(), label="safetensors"):
        path = zoo / "celo-adam" / "theta.safetensors"
        write_safetensors(path, leaves)
        original = path.read_bytes()
    else:
        path = put(zoo, "celo-adam", original)
    try:
        changed = bytearray(original)
        # Half of the draws hit the structure at the start, the rest mostly numbers.
        span = data.draw(st.sampled_from([400, len(changed)]), label="span")
        changed[int(position * span)] ^= flip
        path.write_bytes(changed)
        try:
            loaded = load_weights("celo-adam")
        except WeightsError as error:
            assert str(path) in error.message
        else:
            # Another spelling of the same content, such as a changed remark in the metadata.
            assert content_hash(loaded.leaves) == card("celo-adam").content_hash
            assert int(position * span) < 4000
    finally:
        path.unlink()


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(length=st.floats(0, 1, exclude_max=True), tail=st.binary(min_size=1, max_size=20))
def test_truncation_and_extension_are_refused(published, zoo, length, tail):
    original = (published / "celo" / "theta.state").read_bytes()
    for data in (original[: int(length * len(original))], original + tail):
        path = put(zoo, "celo", data)
        with pytest.raises(WeightsError) as caught:
            load_weights("celo")
        assert str(path) in caught.value.message


def test_a_changed_number_is_refused_by_the_cards_hash(published, zoo):
    data = bytearray((published / "celo" / "theta.state").read_bytes())
    data[-10] ^= 1
    path = put(zoo, "celo", data)
    found = content_hash(read_weights(path).leaves)
    with pytest.raises(WeightsError) as caught:
        load_weights("celo")
    for text in (str(path), "content hash", card("celo").content_hash, found):
        assert text in caught.value.message
    assert "by path" in (caught.value.hint or "")
    own = load_weights(str(path))
    assert (own.origin, own.verified, own.card, own.content_hash) == ("path", False, None, found)
    assert [c.what for c in verify("celo") if c.status == "failed"] == ["content hash"]


def changed(leaves, change):
    leaves = dict(leaves)
    change(leaves)
    return pack(leaves)


def missing(leaves):
    del leaves["ff_mod_stack|~|b1"]


def extra(leaves):
    leaves["ff_mod_stack|~|b9"] = np.zeros((2,), np.float32)


def reshaped(leaves):
    leaves["ff_mod_stack|~|w1"] = leaves["ff_mod_stack|~|w1"].reshape(4, 16)


def other_dtype(leaves):
    leaves["ff_mod_stack|~|w1"] = leaves["ff_mod_stack|~|w1"].astype(np.float64)


def not_finite(leaves):
    leaves["ff_mod_stack|~|w1"] = np.full((8, 8), 1, np.float32)
    leaves["ff_mod_stack|~|w1"][3, 4:6] = np.nan, np.inf


LEAF_ERRORS = [
    (missing, "ff_mod_stack|~|b1: expected float32 (8,), found none"),
    (extra, "ff_mod_stack|~|b9: expected no such leaf, found float32 (2,)"),
    (reshaped, "ff_mod_stack|~|w1: expected float32 (8, 8), found float32 (4, 16)"),
    (other_dtype, "ff_mod_stack|~|w1: expected float32 (8, 8), found float64 (8, 8)"),
    (not_finite, "ff_mod_stack|~|w1: expected finite numbers, found 2 of 64 not"),
]


@pytest.mark.parametrize(("change", "message"), LEAF_ERRORS)
def test_wrong_leaves_are_named(zoo, leaves, change, message):
    path = put(zoo, "celo2-base", changed(leaves, change))
    with pytest.raises(WeightsError) as caught:
        load_weights("celo2-base")
    assert str(path) in caught.value.message and message in caught.value.message
    assert sum(c.status == "failed" for c in verify("celo2-base")) == 1


def test_many_wrong_leaves_are_counted(zoo, leaves):
    put(zoo, "celo2-base", pack({path + "x": leaf for path, leaf in leaves.items()}))
    with pytest.raises(WeightsError, match=r"38 leaves differ.*; and 30 more$") as caught:
        load_weights("celo2-base")
    assert caught.value.message.count("expected") == 8


def test_a_card_without_hash_accepts_what_fits_and_calls_it_unverified(zoo, state, leaves):
    put(zoo, "celo2-base", state)
    weights = load_weights("celo2-base")
    assert not weights.verified and weights.content_hash == content_hash(leaves)
    assert {c.status for c in verify("celo2-base")} == {"ok", "unknown"}


def test_what_the_optimizer_expects_is_checked_too(zoo, state):
    path = put(zoo, "celo2-base", state)
    expected = [*card("celo2-base").leaves, Leaf("w", (3,))]
    for locator in ("celo2-base", str(path)):
        with pytest.raises(WeightsError, match="w: expected float32 .3,., found none"):
            load_weights(locator, expected=expected)


def test_own_weights_by_file_and_by_run_folder(tmp_path, state, leaves):
    path = put(tmp_path, "run", state)
    for locator in (path, tmp_path / "run"):
        weights = load_weights(str(locator))
        assert (weights.source, weights.origin, weights.path) == (str(locator), "path", path)
    write_safetensors(tmp_path / "run" / "theta.safetensors", leaves)
    assert load_weights(str(tmp_path / "run")).path.name == "theta.safetensors"
    put(tmp_path, "run", changed(leaves, not_finite), "nan.state")
    with pytest.raises(WeightsError, match="not finite"):
        load_weights(str(tmp_path / "run" / "nan.state"))


def test_the_zoo_path_may_hold_names_without_a_card(zoo, state):
    path = put(zoo, "lion", state)
    weights = load_weights("lion")
    assert (weights.card, weights.verified, weights.path) == (None, False, path)


def test_an_entry_comes_before_a_folder_of_the_same_name(tmp_path, monkeypatch, state):
    put(tmp_path, "celo2-base", state)
    monkeypatch.chdir(tmp_path)
    assert parse_locator("celo2-base").kind == "zoo"
    assert parse_locator("./celo2-base").path == Path("celo2-base/theta.state")


def test_locators():
    assert parse_locator("random").seed == 0
    assert parse_locator("random:7").text == "random:7" and parse_locator("random:7").seed == 7
    hub = parse_locator("hf:some-one/celo.x@v1.0/b")
    assert (hub.kind, hub.repository, hub.revision) == ("hub", "some-one/celo.x", "v1.0/b")
    assert parse_locator("hf:a/b").revision is None


@pytest.mark.parametrize(
    "text", ["", " ", "random:x", "random:-1", "hf:", "hf:a", "hf:a/b@", "hf:../b", "hf:a/../b"]
)
def test_bad_locators(text):
    with pytest.raises(UsageError):
        parse_locator(text)


def test_random_weights_are_not_a_file():
    with pytest.raises(UsageError, match="optimizer initialises"):
        load_weights("random:1")


def test_unknown_names_and_missing_paths():
    with pytest.raises(UnknownNameError, match="no weights called 'cello'"):
        load_weights("cello")
    for text in ("./none.state", "runs/none", "none.safetensors"):
        with pytest.raises(WeightsMissingError, match="no file or folder of weights at"):
            load_weights(text)


def test_empty_folders_are_told(tmp_path, zoo):
    with pytest.raises(WeightsMissingError, match="neither theta.safetensors nor theta.state"):
        load_weights(str(tmp_path))
    (zoo / "celo").mkdir()
    with pytest.raises(WeightsMissingError, match="neither"):
        load_weights("celo")


def test_a_zoo_path_that_is_no_folder_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("CELO_ZOO_PATH", str(tmp_path / "typo"))
    with pytest.raises(WeightsError, match="CELO_ZOO_PATH is '.*typo', which is not a folder"):
        load_weights("celo")


@pytest.mark.parametrize("name", list(cards()))
def test_offline_says_what_is_missing_and_how_to_get_it(name, cache):
    with pytest.raises(WeightsMissingError) as caught:
        load_weights(name)
    assert f"the weights {name} are not on this machine" in caught.value.message
    assert str(cache) in caught.value.message and "\n" not in caught.value.message
    hint = caught.value.hint or ""
    assert f"celo zoo pull {name}" in hint and f"FOLDER/{name}/theta.state" in hint


def test_unreadable_files_are_told(zoo, state):
    path = put(zoo, "celo2-base", state)
    path.unlink()
    os.symlink(zoo / "gone", path)
    with pytest.raises(WeightsMissingError):
        load_weights("celo2-base")
    shutil.rmtree(zoo)


def test_random_weights_are_no_file():
    for ask in (weights_path, verify):
        with pytest.raises(UsageError, match="random:0 is no file of weights"):
            ask("random")


def test_there_is_nothing_to_verify():
    with pytest.raises(WeightsMissingError, match="celo are not .*: there is nothing to verify"):
        verify("celo")


def test_a_cache_that_cannot_be_looked_into_is_told(cache, monkeypatch):
    def fail(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", fail)
    with pytest.raises(WeightsError, match=f"cannot look for weights in {cache}.*: Permission"):
        places("celo")
