"""Reads the plain data inside a pickle stream without running any of it.

The original CIFAR files are pickles of a dict with lists, strings and one array of bytes. This
reader walks over the opcodes (`pickletools.genops` only names them) and builds dicts, lists,
tuples, numbers, strings and numpy arrays of unsigned bytes. It never imports, looks up or calls
what the stream names: the few names that such an array consists of are compared as text, every
other name and every other opcode is refused.
"""

from __future__ import annotations

import math
import pickletools
from dataclasses import dataclass
from typing import Any

import numpy as np

from celo.errors import DataError

_RECONSTRUCT = {
    "numpy.core.multiarray _reconstruct",
    "numpy._core.multiarray _reconstruct",
}
_NDARRAY, _DTYPE = "numpy ndarray", "numpy dtype"
_ENCODE = "_codecs encode"  # how Python 3 writes bytes for Python 2
_NAMES = {*_RECONSTRUCT, _NDARRAY, _DTYPE, _ENCODE}

_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Refused(Exception):
    """The stream holds something that plain data does not."""


@dataclass(frozen=True)
class _Name:
    """A global that the stream mentions: text, never looked up."""

    text: str


@dataclass
class _Array:
    """An array between its REDUCE and its BUILD, which brings the contents."""

    value: np.ndarray | None = None


class _Dtype:
    """The dtype `u1`, the only one accepted; its BUILD brings nothing of interest."""


_MARK = object()


def read_dict(data: bytes, where: str) -> dict[str, Any]:
    """The dictionary that a pickle stream of plain data describes.

    Args:
      data: the whole stream.
      where: named in messages.

    Returns:
      Text (latin-1) -> number, string, bytes, list of such, or uint8 array of any shape.

    Raises:
      DataError: damaged, or it holds anything but plain data.
    """
    try:
        value = _run(data)
        if type(value) is not dict:
            raise _Refused(f"{type(value).__name__} in the place of a dictionary")
        return {_text(key): _finished(item) for key, item in value.items()}
    except _Refused as error:
        raise DataError(
            f"{where}: expected a pickle of plain data, found {error}",
            hint="nothing of it was run; fetch the file again from its original place",
        ) from error
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{where}: expected a whole pickle of plain data, but it is damaged: {error}",
            hint="it may be cut short; fetch it again",
        ) from error


def _text(key: Any) -> str:
    if not isinstance(key, (str, bytes)):
        raise _Refused(f"a key that is {type(key).__name__}")
    return key.decode("latin-1") if isinstance(key, bytes) else key


def _finished(item: Any) -> Any:
    if not isinstance(item, _Array):
        return item
    if item.value is None:
        raise ValueError("an array without contents")
    return item.value


def _run(data: bytes) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    opcode: pickletools.OpcodeInfo
    argument: Any
    for opcode, argument, _ in pickletools.genops(data):
        name = opcode.name
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("PROTO", "FRAME", "STOP"):
            pass
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            text = argument if name == "GLOBAL" else " ".join(reversed([stack.pop(), stack.pop()]))
            if text not in _NAMES:
                raise _Refused(f"the name {text.replace(' ', '.')!r}")
            stack.append(_Name(text))
        else:
            _container_or_object(name, stack)
    # What does not end with STOP made `genops` raise.
    (value,) = stack
    return value


def _container_or_object(name: str, stack: list[Any]) -> None:
    if name == "EMPTY_DICT":
        stack.append({})
    elif name == "EMPTY_LIST":
        stack.append([])
    elif name == "EMPTY_TUPLE":
        stack.append(())
    elif name in _TUPLES:
        count = _TUPLES[name]
        stack[-count:] = [tuple(stack[-count:])]
    elif name == "TUPLE":
        stack.append(tuple(_above_mark(stack)))
    elif name == "LIST":
        stack.append(_above_mark(stack))
    elif name == "DICT":
        items = _above_mark(stack)
        stack.append(dict(zip(items[::2], items[1::2], strict=True)))
    elif name == "APPEND":
        item = stack.pop()
        _top(stack, list).append(item)
    elif name == "APPENDS":
        items = _above_mark(stack)
        _top(stack, list).extend(items)
    elif name == "SETITEM":
        value, key = stack.pop(), stack.pop()
        _top(stack, dict)[key] = value
    elif name == "SETITEMS":
        items = _above_mark(stack)
        _top(stack, dict).update(zip(items[::2], items[1::2], strict=True))
    elif name == "REDUCE":
        arguments, function = stack.pop(), stack.pop()
        stack.append(_reduce(function, arguments))
    elif name == "BUILD":
        state = stack.pop()
        _build(stack[-1], state)
    else:
        raise _Refused(f"the opcode {name}")


def _above_mark(stack: list[Any]) -> list[Any]:
    for position in range(len(stack) - 1, -1, -1):
        if stack[position] is _MARK:
            items = stack[position + 1 :]
            del stack[position:]
            return items
    raise ValueError("no mark")


def _top(stack: list[Any], kind: type) -> Any:
    if type(stack[-1]) is not kind:
        raise _Refused(f"items put into {type(stack[-1]).__name__}")
    return stack[-1]


def _reduce(function: Any, arguments: Any) -> Any:
    """What a call would have returned, for the three calls that an array of bytes consists of."""
    text = function.text if isinstance(function, _Name) else repr(type(function).__name__)
    if text in _RECONSTRUCT and arguments[0] == _Name(_NDARRAY):
        return _Array()
    if text == _DTYPE and arguments[0] in ("u1", b"u1"):
        return _Dtype()
    if text == _ENCODE and tuple(arguments[1:]) == ("latin1",) and type(arguments[0]) is str:
        return arguments[0].encode("latin-1")
    raise _Refused(f"a call of {text.replace(' ', '.')} with other arguments than a byte array's")


def _build(target: Any, state: Any) -> None:
    if isinstance(target, _Dtype):
        return
    if not isinstance(target, _Array):
        raise _Refused(f"state put into {type(target).__name__}")
    _, shape, dtype, fortran_order, contents = state
    if not isinstance(dtype, _Dtype) or not isinstance(contents, (str, bytes)):
        raise _Refused("an array of something else than unsigned bytes")
    data = contents.encode("latin-1") if isinstance(contents, str) else contents
    if not all(type(n) is int and n >= 0 for n in shape) or math.prod(shape) != len(data):
        raise ValueError(f"an array of shape {shape} with {len(data)} bytes")
    order = "F" if fortran_order else "C"
    target.value = np.frombuffer(data, np.uint8).reshape(shape, order=order)
