import hashlib
import io
import json
import os
import pickle
import struct
from typing import NamedTuple

import flax.serialization
import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import celo_zoo
from celo.errors import WeightsError, WeightsMissingError
from celo_zoo import content_hash, flatten, formats, read_weights, unflatten, write_safetensors
from celo_zoo.msgpack_format import DTYPES, FormatError, decode
from tests.zoo.fakes import pack_array


class LSTMState(NamedTuple):
    hidden: np.ndarray
    cell: np.ndarray


def assert_same(found, expected):
    assert list(found) == sorted(expected)
    for path, leaf in expected.items():
        assert found[path].dtype == leaf.dtype and found[path].shape == leaf.shape, path
        np.testing.assert_array_equal(found[path], leaf)


@pytest.mark.parametrize("name", ["celo", "celo-adam"])
def test_published_files_read_as_flax_reads_them(published, name):
    path = published / name / "theta.state"
    file = read_weights(path)
    assert_same(file.leaves, flatten(flax.serialization.msgpack_restore(path.read_bytes())))
    entry = celo_zoo.card(name)
    assert (file.format, file.bytes, file.sha256) == ("msgpack", entry.bytes, entry.sha256)
    assert {path: leaf.shape for path, leaf in file.leaves.items()} == {
        leaf.path: leaf.shape for leaf in entry.leaves
    }
    assert content_hash(file.leaves) == entry.content_hash


def test_content_hash_is_what_it_says(published):
    leaves = read_weights(published / "celo-adam" / "theta.state").leaves
    digest = hashlib.sha256(b"celo weights 1\n")
    for path in sorted(leaves):
        leaf = leaves[path]
        shape = ",".join(map(str, leaf.shape))
        digest.update(f'["{path}","float32",[{shape}]]\n'.encode() + leaf.astype("<f4").tobytes())
    assert digest.hexdigest() == celo_zoo.card("celo-adam").content_hash


def test_content_hash_tells_path_dtype_shape_and_bytes_apart():
    base = {"a|b": np.array([[0, 1], [2, 3]], np.float32)}
    others = [
        {"a|c": base["a|b"]},
        {"a|b": base["a|b"].view(np.int32)},
        {"a|b": base["a|b"].reshape(4)},
        {"a|b": base["a|b"] * np.float32(-1)},
        {**base, "a|c": np.zeros((0,), np.float32)},
    ]
    hashes = [content_hash(x) for x in [base, *others]]
    assert len(set(hashes)) == len(hashes)
    swapped = {"a|b": base["a|b"].astype(">f4"), "z": np.ones(2, np.float32)}
    assert content_hash(swapped) == content_hash(dict(reversed(swapped.items())))
    assert content_hash({"a|b": swapped["a|b"]}) == hashes[0]


def test_conversion_keeps_the_content_hash_and_writes_equal_bytes(published, tmp_path):
    original = read_weights(published / "celo" / "theta.state")
    for i in (1, 2):
        reverse = dict(reversed(original.leaves.items()))
        write_safetensors(tmp_path / f"{i}.safetensors", reverse, {"b": [1], "a": "x"})
    converted = read_weights(tmp_path / "1.safetensors")
    assert converted.format == "safetensors"
    assert_same(converted.leaves, original.leaves)
    assert content_hash(converted.leaves) == content_hash(original.leaves)
    assert converted.metadata["a"] == "x" and converted.metadata["b"] == [1]
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()


keys = st.text(st.characters(codec="ascii", exclude_characters="|"), min_size=1, max_size=8)
keys = keys.filter(str.isprintable)
arrays = hnp.arrays(
    st.sampled_from([np.dtype(name) for name in sorted(DTYPES)]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
trees = st.dictionaries(
    keys,
    st.recursive(arrays, lambda inner: st.dictionaries(keys, inner, min_size=1, max_size=3)),
    min_size=1,
    max_size=3,
)


@settings(max_examples=60, deadline=None)
@given(trees)
def test_decoder_agrees_with_flax_on_any_tree(tree):
    data = flax.serialization.msgpack_serialize(tree)
    assert_same(decode(data), flatten(flax.serialization.msgpack_restore(data)))


@settings(max_examples=30, deadline=None)
@given(trees)
def test_safetensors_round_trip_of_any_tree(session_folder, tree):
    leaves = flatten(tree)
    path = session_folder / "theta.safetensors"
    write_safetensors(path, leaves)
    assert_same(read_weights(path).leaves, leaves)
    assert_same(flatten(unflatten(leaves)), leaves)


def test_scalars_named_tuples_and_sequences():
    state = LSTMState(np.ones((1, 2), np.float32), np.zeros((1, 2), np.float32))
    tree = {"lstm": state, "lr": np.float32(0.5), "list": [np.ones(1, np.float32)]}
    leaves = decode(flax.serialization.to_bytes(tree))
    assert list(leaves) == ["list|0", "lr", "lstm|cell", "lstm|hidden"]
    assert leaves["lr"].shape == () and leaves["lr"] == np.float32(0.5)
    assert list(flatten({"lstm": state})) == ["lstm|cell", "lstm|hidden"]


@pytest.mark.parametrize("as_list", [False, True])
def test_named_tuples_of_old_files(as_list):
    values = [pack_array(np.full((1, 2), i, np.float32)) for i in range(2)]

    def sequence(items):
        return items if as_list else {str(i): item for i, item in enumerate(items)}

    old = {
        "name": "LSTMState",
        "fields": sequence(["hidden", "cell"]),
        "values": sequence(values),
    }
    leaves = decode(msgpack.packb({"lstm_init_state": old}))
    assert {path: leaf[0, 0] for path, leaf in leaves.items()} == {
        "lstm_init_state|hidden": 0,
        "lstm_init_state|cell": 1,
    }


def array(shape=(2,), dtype="float32", content=b"\0" * 8, code=1, extra=()):
    return msgpack.ExtType(code, msgpack.packb((shape, dtype, content, *extra)))


def duplicate_keys():
    item = msgpack.packb("w") + msgpack.packb(pack_array(np.zeros(1, np.float32)))
    return b"\x82" + item + item


REFUSED = {
    "trailing bytes": (msgpack.packb({"w": array()}) + b"\0", "1 bytes follow"),
    "truncated": (msgpack.packb({"w": array()})[:-1], "damaged"),
    "no array": (b"\x80", "no array"),
    "duplicate": (duplicate_keys(), "'w' occurs twice"),
    "text leaf": (msgpack.packb({"w": "x"}), "w is a str"),
    "number leaf": (msgpack.packb({"a": {"w": 1.0}}), r"a\|w is a float"),
    "nothing leaf": (msgpack.packb({"w": None}), "NoneType"),
    "unknown extension": (msgpack.packb({"w": array(code=7)}), "extension type 7"),
    "complex": (msgpack.packb({"w": msgpack.ExtType(2, msgpack.packb((1.0, 2.0)))}), "type 2"),
    "timestamp": (msgpack.packb({"w": msgpack.Timestamp(1, 0)}), "Timestamp"),
    "integer key": (msgpack.packb({1: array()}), "int is not allowed"),
    "bytes key": (msgpack.packb({b"w": array()}), "key is bytes"),
    "object dtype": (msgpack.packb({"w": array(dtype="object")}), "'object'"),
    "bfloat16": (msgpack.packb({"w": array(dtype="bfloat16")}), "'bfloat16'"),
    "too short": (msgpack.packb({"w": array(content=b"\0" * 7)}), "needs 8 bytes, found 7"),
    "huge shape": (msgpack.packb({"w": array(shape=(2**62, 2**62))}), "needs"),
    "negative shape": (msgpack.packb({"w": array(shape=(-2, -1))}), "expected sizes"),
    "float shape": (msgpack.packb({"w": array(shape=(2.0,))}), "expected sizes"),
    "bool shape": (msgpack.packb({"w": array(shape=(True, 2))}), "expected sizes"),
    "high rank": (msgpack.packb({"w": array(shape=(1,) * 40)}), "w: "),
    "four parts": (msgpack.packb({"w": array(extra=(1,))}), "not .shape, dtype, bytes."),
    "text content": (msgpack.packb({"w": array(content="x" * 8)}), "found str"),
    "scalar with shape": (msgpack.packb({"w": array(code=3)}), "scalar has the shape"),
    "separator": (msgpack.packb({"a|b": array()}), "without '|'"),
    "empty key": (msgpack.packb({"": array()}), "key ''"),
    "control character": (msgpack.packb({"\x1b[2J": array()}), "printable"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_msgpack(case, tmp_path):
    data, reason = REFUSED[case]
    path = tmp_path / "theta.state"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=reason) as caught:
        read_weights(path)
    assert str(path) in caught.value.message


def test_deep_and_wide_claims_cost_nothing():
    deep = msgpack.packb(pack_array(np.zeros(1, np.float32)))
    for _ in range(400):
        deep = b"\x81\xa1k" + deep
    for data in (
        deep,
        b"\x81\xa1k" * 10_000,
        b"\xdf\xff\xff\xff\xff",  # a map that claims 4 billion entries
        b"\x81\xa1k\xdd\xff\xff\xff\xff",  # a list that claims as many
        b"\x81\xa1k\xc9\xff\xff\xff\xff\x01",  # an extension that claims 4 GB
    ):
        with pytest.raises(FormatError):
            decode(data)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("pickle-was-loaded",)


def pickled(protocol):
    return pickle.dumps({"w": Bomb()}, protocol=protocol)


def npz():
    buffer = io.BytesIO()
    np.savez(buffer, w=np.zeros(1))
    return buffer.getvalue()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", ["theta.state", "theta.safetensors", "theta.pkl"])
def test_pickles_are_refused_by_content(protocol, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(pickled(protocol))
    with pytest.raises(WeightsError, match="is a pickle, which can run code"):
        read_weights(tmp_path / name)
    assert not (tmp_path / "pickle-was-loaded").exists()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "is empty"),
        (npz(), "zip archive"),
        (b"\x93NUMPY...", "NumPy array"),
        (b"<!DOCTYPE html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs pointer"),
        (b"hello, world", "unknown format"),
    ],
)
def test_other_files_are_named_for_what_they_are(data, what, tmp_path):
    path = tmp_path / "theta.state"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=what):
        read_weights(path)


def test_what_is_not_a_file(tmp_path, monkeypatch):
    with pytest.raises(WeightsMissingError, match="no file of weights"):
        read_weights(tmp_path / "none")
    with pytest.raises(WeightsError, match="not a regular file"):
        read_weights(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WeightsError, match="not a regular file"):
        read_weights(tmp_path / "pipe")
    monkeypatch.setattr(formats, "MAX_FILE_BYTES", 2**20)
    (tmp_path / "large").write_bytes(b"\x81" * (2**20 + 1))
    with pytest.raises(WeightsError, match="larger than 1 MiB"):
        read_weights(tmp_path / "large")


def safetensors_bytes(header, data=b"\0" * 8):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
RAW_ENTRY = json.dumps(ENTRY).encode()


REFUSED_SAFETENSORS = {
    "truncated": (safetensors_bytes({"w": ENTRY})[:-1], "damaged"),
    "extended": (safetensors_bytes({"w": ENTRY}) + b"\0", "damaged"),
    "shape": (safetensors_bytes({"w": {**ENTRY, "shape": [3]}}), "damaged"),
    "offsets": (safetensors_bytes({"w": {**ENTRY, "data_offsets": [0, 2**40]}}), "damaged"),
    "dtype": (safetensors_bytes({"w": {**ENTRY, "dtype": "BF16", "shape": [4]}}), "dtype BF16"),
    "duplicate": (safetensors_bytes(b'{"w":%b,"w":%b}' % ((RAW_ENTRY,) * 2)), "twice"),
    "no array": (safetensors_bytes({}, b""), "no array"),
    "empty key": (safetensors_bytes({"a|": ENTRY}), "key ''"),
    "metadata": (safetensors_bytes({"__metadata__": {"celo": "[]"}, "w": ENTRY}), "not an object"),
    "schema": (safetensors_bytes({"__metadata__": {"celo": '{"schema":9}'}, "w": ENTRY}), "is 9"),
    "long header": (struct.pack("<Q", 200) + b"{" * 20, "header is said to have 200"),
    "nested header": (safetensors_bytes(b"[" * 100_000 + b"]" * 100_000), "unknown format"),
    "deep header": (safetensors_bytes(b'{"a":' * 100_000 + b"}" * 100_000), "header is not valid"),
}


@pytest.mark.parametrize("case", REFUSED_SAFETENSORS)
def test_refused_safetensors(case, tmp_path):
    data, reason = REFUSED_SAFETENSORS[case]
    path = tmp_path / "theta.safetensors"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=reason) as caught:
        read_weights(path)
    assert str(path) in caught.value.message


@pytest.mark.parametrize("size", [640, 896, 1152, 1408])
def test_a_header_that_starts_like_a_pickle(size, tmp_path):
    header = json.dumps({"w": ENTRY}).encode().ljust(size)
    path = tmp_path / "theta.safetensors"
    path.write_bytes(safetensors_bytes(header))
    assert path.read_bytes()[0] == 0x80
    assert_same(read_weights(path).leaves, {"w": np.zeros(2, np.float32)})


def test_a_leaf_below_a_leaf_is_refused(tmp_path):
    half = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    other = {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}
    path = tmp_path / "theta.safetensors"
    path.write_bytes(safetensors_bytes({"a": half, "a|b": other}))
    with pytest.raises(WeightsError, match="below another leaf"):
        read_weights(path)


def test_files_of_others_need_no_metadata(tmp_path):
    path = tmp_path / "theta.safetensors"
    path.write_bytes(safetensors_bytes({"w": ENTRY}))
    assert_same(read_weights(path).leaves, {"w": np.zeros(2, np.float32)})


def test_our_files_notice_a_changed_number(tmp_path, leaves):
    path = tmp_path / "theta.safetensors"
    write_safetensors(path, leaves)
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="damaged: expected content hash"):
        read_weights(path)


def test_a_failed_write_leaves_nothing(tmp_path, leaves, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_safetensors(tmp_path / "theta.safetensors", leaves)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_refused(tmp_path):
    for bad in ({"a": np.zeros(1, complex)}, {"a||b": np.zeros(1)}, {"a": np.zeros(1, object)}):
        with pytest.raises(WeightsError):
            write_safetensors(tmp_path / "x", bad)


def test_a_file_that_cannot_be_opened_is_told(tmp_path):
    loop = tmp_path / "theta.state"
    loop.symlink_to(loop)
    with pytest.raises(WeightsError, match=f"cannot read {loop}: Too many levels"):
        read_weights(loop)


def test_what_msgpack_must_hold():
    with pytest.raises(FormatError, match="the top level is a list, expected a map"):
        decode(msgpack.packb([1]))
    named = {"name": "Pair", "fields": ["a", "b"], "values": [pack_array(np.ones(1, np.float32))]}
    with pytest.raises(FormatError, match=r"has the fields \['a', 'b'\] and 1 values"):
        decode(msgpack.packb({"pair": named}))


def test_a_leaf_cannot_be_a_node_too():
    one = np.ones(1, np.float32)
    with pytest.raises(WeightsError, match="'a' has the name of a node that holds other leaves"):
        unflatten({"a|b": one, "a": one})
