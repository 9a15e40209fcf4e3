"""The format of the published files: flax's msgpack, read strictly, written the same.

A file is nested maps with text keys; a leaf is extension type 1 (array) or 3 (scalar), whose
payload is again msgpack: (shape, dtype name, bytes in C order). Nothing else is accepted, nothing
is executed, and no size is believed before it was compared with the bytes that are there.
"""

from __future__ import annotations

import math
from typing import Any

import msgpack
import numpy as np

from celo.errors import WeightsError
from celo_zoo.tree import MAX_DEPTH, Leaves, join, little_endian, unflatten

_ARRAY, _SCALAR = 1, 3
_MAX_KEYS = 4096
_MAX_RANK = 32
DTYPES = frozenset(
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64".split()
)


class FormatError(ValueError):
    """The bytes are not what the format says; the text says where and why."""


def decode(data: bytes) -> dict[str, np.ndarray]:
    """Leaves by path.

    Args:
      data: a whole file.

    Returns:
      Read-only arrays (views of `data`'s payloads).

    Raises:
      FormatError: the bytes are not a tree of arrays in flax's encoding.
      WeightsError: a key cannot be part of a path.
    """
    tree = _unpack(
        data,
        object_pairs_hook=_without_duplicates,
        max_map_len=_MAX_KEYS,
        max_array_len=_MAX_KEYS,
    )
    if not isinstance(tree, dict):
        raise FormatError(f"the top level is a {type(tree).__name__}, expected a map")
    leaves: dict[str, np.ndarray] = {}
    _collect(tree, (), leaves)
    if not leaves:
        raise FormatError("there is no array in it")
    return {path: leaves[path] for path in sorted(leaves)}


def encode(leaves: Leaves) -> bytes:
    """The bytes of a file, readable by flax and by `decode`; equal input gives equal bytes.

    Args:
      leaves: arrays by path.

    Raises:
      WeightsError: a path or dtype cannot be written.
    """

    def pack(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: pack(node[key]) for key in sorted(node)}
        payload = (list(node.shape), node.dtype.name, little_endian(node).tobytes("C"))
        return msgpack.ExtType(_ARRAY, _pack(payload))

    for path, leaf in leaves.items():
        if leaf.dtype.name not in DTYPES:
            raise WeightsError(f"cannot write {path}: its dtype is {leaf.dtype.name}")
    return _pack(pack(unflatten(leaves)))


def _pack(value: Any) -> bytes:
    packed = msgpack.packb(value, use_bin_type=True)
    assert packed is not None, "None is what it returns after packing into its own buffer"
    return packed


def _unpack(data: bytes, **options: Any) -> Any:
    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=True, **options)
    except FormatError:
        raise
    except msgpack.exceptions.ExtraData as error:
        raise FormatError(f"{len(error.extra)} bytes follow its end") from error
    except (ValueError, TypeError, OverflowError, msgpack.exceptions.UnpackException) as error:
        raise FormatError(f"{error or type(error).__name__}") from error


def _without_duplicates(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    node = dict(pairs)
    if len(node) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise FormatError(f"the key {twice!r} occurs twice in one map")
    return node


def _collect(node: Any, keys: tuple[str, ...], leaves: dict[str, np.ndarray]) -> None:
    if isinstance(node, dict):
        if len(keys) >= MAX_DEPTH:
            raise FormatError(f"maps are nested more than {MAX_DEPTH} deep")
        for key, child in _named_tuple(node).items():
            if not isinstance(key, str):
                raise FormatError(f"a key is {type(key).__name__}, expected text")
            _collect(child, (*keys, key), leaves)
        return
    path = join(keys)
    if not isinstance(node, msgpack.ExtType):
        raise FormatError(f"{path} is a {type(node).__name__}, expected an array")
    if node.code not in (_ARRAY, _SCALAR):
        raise FormatError(f"{path} has the unknown extension type {node.code}")
    try:
        leaves[path] = _array(node.data, scalar=node.code == _SCALAR)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error


def _named_tuple(node: dict[Any, Any]) -> dict[Any, Any]:
    """Files of before 2022 wrote a named tuple as its name, field names and values."""
    if set(node) != {"name", "fields", "values"}:
        return node
    fields, values = (_sequence(node[key]) for key in ("fields", "values"))
    if fields is None or values is None or not all(isinstance(field, str) for field in fields):
        return node
    if len(fields) != len(values) or len(set(fields)) != len(fields):
        raise FormatError(f"a named tuple has the fields {fields} and {len(values)} values")
    return dict(zip(fields, values, strict=True))


def _sequence(node: Any) -> list[Any] | None:
    """flax writes a sequence as a map with the keys "0", "1", ...; None if it is not one."""
    if isinstance(node, list):
        return node
    if isinstance(node, dict) and set(node) == {str(i) for i in range(len(node))}:
        return [node[str(i)] for i in range(len(node))]
    return None


def _array(data: bytes, *, scalar: bool) -> np.ndarray:
    parts = _unpack(data, max_array_len=_MAX_RANK, max_map_len=0)
    if not isinstance(parts, list) or len(parts) != 3:
        raise FormatError("an array is not (shape, dtype, bytes)")
    shape, dtype, content = parts
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise FormatError(f"the shape is {shape!r}, expected sizes")
    if scalar and shape:
        raise FormatError(f"a scalar has the shape {tuple(shape)}")
    if dtype not in DTYPES:
        raise FormatError(f"the dtype is {dtype!r}, expected one of {', '.join(sorted(DTYPES))}")
    kind = np.dtype(dtype).newbyteorder("<")
    expected = math.prod(shape) * kind.itemsize
    if not isinstance(content, bytes) or len(content) != expected:
        found = len(content) if isinstance(content, bytes) else type(content).__name__
        raise FormatError(f"{dtype} {tuple(shape)} needs {expected} bytes, found {found}")
    return np.frombuffer(content, dtype=kind).reshape(shape)
