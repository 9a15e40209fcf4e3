"""Weights as hostile input: whatever is done to a file, it is refused with one sentence.

`CELO_CORRUPTIONS` sets how many corrupted inputs a test makes (a benchmark asks for thousands).
"""

from __future__ import annotations

import json
import os
import struct
import time
import tracemalloc
from pathlib import Path

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celo.errors import WeightsError
from celo_zoo import content_hash, encode_safetensors, formats, read_weights
from tests.zoo.fakes import pack, pack_array

EXAMPLES = int(os.environ.get("CELO_CORRUPTIONS", "60"))
LEAVES = {
    "a|b": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a|c": np.ones(4, np.float32),
    "d": np.full((1, 2), 7, np.int32),
}
HASH = content_hash(LEAVES)
FILES = {"msgpack": pack(LEAVES), "safetensors": encode_safetensors(LEAVES, {"name": "x"})}
MEMORY, SECONDS = 8 * 2**20, 2.0

many = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
kinds = st.sampled_from(sorted(FILES))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile") / "theta"


def refused(path: Path, data: bytes) -> bool:
    """Whether `data` is refused with a sentence; otherwise it holds something else than it did."""
    path.write_bytes(data)
    start = time.monotonic()
    tracemalloc.start()
    try:
        leaves = read_weights(path).leaves
    except WeightsError as error:
        assert str(path) in error.message and "\n" not in error.message
        assert len(error.message) < 2000
        return True
    else:
        assert all(leaf.nbytes <= len(data) for leaf in leaves.values())
        # Changed content cannot be seen in a file alone; the recorded hash tells it.
        assert content_hash(leaves) != HASH, "a changed file passes for the original"
        return False
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MEMORY, f"{peak} bytes for a file of {len(data)}"
        assert time.monotonic() - start < SECONDS


def test_the_originals_are_accepted(path):
    for data in FILES.values():
        path.write_bytes(data)
        assert content_hash(read_weights(path).leaves) == HASH


@many
@given(kinds, st.integers(0, 2**20), st.integers(1, 255))
def test_any_flipped_byte(path, kind, at, mask):
    data = bytearray(FILES[kind])
    data[at % len(data)] ^= mask
    path.write_bytes(data)
    try:
        file = read_weights(path)
    except WeightsError as error:
        assert "\n" not in error.message
        return
    # Only remarks in the header may change without notice here: the cache holds the file's hash.
    same = content_hash(file.leaves) == HASH
    assert not same or (kind == "safetensors" and at % len(data) < len(data) - 48)


@many
@given(kinds, st.integers(0, 2**20))
def test_any_truncation(path, kind, at):
    assert refused(path, FILES[kind][: at % len(FILES[kind])])


@many
@given(kinds, st.binary(min_size=1, max_size=64))
def test_any_extension(path, kind, extra):
    assert refused(path, FILES[kind] + extra)


@many
@given(kinds, st.integers(0, 2**20), st.integers(0, 2**20), st.binary(max_size=16))
def test_any_splice(path, kind, start, stop, middle):
    data = FILES[kind]
    start, stop = sorted((start % len(data), stop % len(data)))
    spliced = data[:start] + middle + data[stop:]
    if spliced != data and not data[start:stop].strip() == middle.strip() == b"":
        refused(path, spliced)


@many
@given(st.integers(0, 2**64 - 1))
def test_any_header_length(path, size):
    data = FILES["safetensors"]
    if size != int.from_bytes(data[:8], "little"):
        assert refused(path, struct.pack("<Q", size) + data[8:])


@many
@given(st.binary(min_size=1, max_size=300))
def test_any_bytes(path, data):
    refused(path, data)


names = st.one_of(
    st.sampled_from(["", "|", "a|", "|a", "a||b", "\0", "\x1b[2J", "a\nb", "a|b|c"]),
    st.integers(33, 80).map(lambda n: "|".join("k" * n)),
)


@many
@given(names)
def test_any_trick_in_a_name(path, name):
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    other = {**entry, "data_offsets": [4, 8]}
    header = json.dumps({name: entry, "a|b": other}).encode()
    assert refused(path, struct.pack("<Q", len(header)) + header + b"\0" * 8)
    assert refused(path, msgpack.packb({name: pack_array(np.zeros(1, np.float32))}))


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", "C:\\x", "~"])
def test_names_that_look_like_paths_touch_no_file(path, name):
    before = sorted(path.parent.rglob("*"))
    path.write_bytes(encode_safetensors({name: np.zeros(1, np.float32)}))
    assert list(read_weights(path).leaves) == [name]
    assert [p for p in sorted(path.parent.rglob("*")) if p != path] == [
        p for p in before if p != path
    ]


sizes = st.lists(st.integers(0, 2**63 - 1) | st.integers(-5, 5), max_size=40)
dtypes = st.sampled_from(["float32", "object", "O", "U8", "bfloat16", "complex64", "V99999999", ""])


@many
@given(sizes, dtypes)
def test_any_shape_and_type_of_msgpack(path, shape, dtype):
    payload = msgpack.packb((shape, dtype, b"\0" * 12))
    if dtype != "float32" or any(n < 0 for n in shape) or np.prod(shape, dtype=object) != 3:
        assert refused(path, msgpack.packb({"w": msgpack.ExtType(1, payload)}))


@many
@given(sizes, st.sampled_from(["F32", "BF16", "F8_E4M3", "O", "f32", "", "C64"]))
def test_any_shape_and_type_of_safetensors(path, shape, dtype):
    header = {"w": {"dtype": dtype, "shape": shape, "data_offsets": [0, 12]}}
    text = json.dumps(header).encode()
    if dtype != "F32" or any(n < 0 for n in shape) or np.prod(shape, dtype=object) != 3:
        assert refused(path, struct.pack("<Q", len(text)) + text + b"\0" * 12)


@many
@given(st.integers(33, 3000))
def test_any_depth(path, depth):
    data = msgpack.packb(pack_array(np.zeros(1, np.float32)))
    assert refused(path, b"\x81\xa1k" * depth + data)


def swapped(pairs: list[tuple[str, object]]) -> bytes:
    text = b"{" + b",".join(
        json.dumps(k).encode() + b":" + json.dumps(v).encode() for k, v in pairs
    )
    return struct.pack("<Q", len(text) + 1) + text + b"}"


def test_duplicate_overlapping_and_holed_entries(path):
    def entry(start: int, stop: int) -> dict[str, object]:
        return {"dtype": "F32", "shape": [(stop - start) // 4], "data_offsets": [start, stop]}

    body = b"\0" * 16
    for pairs in (
        [("a", entry(0, 8)), ("a", entry(8, 16))],
        [("a", entry(0, 12)), ("b", entry(8, 16))],
        [("a", entry(0, 4)), ("b", entry(8, 16))],
        [("a", entry(0, 16)), ("b", entry(0, 16))],
    ):
        assert refused(path, swapped(pairs) + body)


@pytest.mark.parametrize("kind", sorted(FILES))
def test_exchanged_entries_have_another_hash(path, kind):
    exchanged = {**LEAVES, "a|b": LEAVES["a|b"][::-1].copy()}
    path.write_bytes(pack(exchanged) if kind == "msgpack" else encode_safetensors(exchanged))
    assert content_hash(read_weights(path).leaves) != HASH
    reordered = pack(dict(reversed(LEAVES.items())))
    path.write_bytes(reordered)
    assert content_hash(read_weights(path).leaves) == HASH  # the order of entries means nothing


def test_a_file_that_is_too_large_is_not_read(path, monkeypatch):
    monkeypatch.setattr(formats, "MAX_FILE_BYTES", 2**16)
    assert refused(path, b"\x81" + b"\0" * 2**16)
