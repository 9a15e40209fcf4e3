"""Installed distributions that misbehave, as folders on the path: one for each way to do so."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_RECORD = """
from celo.records import OptimizerPlugin

def record(name, build="x:y", **fields):
    return OptimizerPlugin(name=name, kind="hand-crafted", summary="s", build=build, **fields)
"""


@dataclass(frozen=True)
class Neighbour:
    """A distribution `bad-NAME` 1.0 with one module `bad_NAME`.

    Attributes:
      name: of the neighbour.
      source: of its module.
      reason: part of what `celo plugins list` says about it.
      points: its entry points; empty means one optimizer, `RECORD` of the module.
      metadata: bytes of METADATA; None means good ones.
    """

    name: str
    source: str = ""
    reason: str = ""
    points: bytes = b""
    metadata: bytes | None = None

    @property
    def module(self) -> str:
        return f"bad_{self.name.replace('-', '_')}"

    def install(self, site: Path) -> None:
        info = site / f"{self.module}-1.0.dist-info"
        info.mkdir(parents=True)
        good = f"Metadata-Version: 2.1\nName: bad-{self.name}\nVersion: 1.0\n".encode()
        (info / "METADATA").write_bytes(good if self.metadata is None else self.metadata)
        point = f"[celo.optimizers]\nbad-{self.name} = {self.module}:RECORD\n".encode()
        (info / "entry_points.txt").write_bytes(self.points or point)
        (site / f"{self.module}.py").write_text(self.source)


_SWALLOWS = """
while True:
    try:
        while True: pass
    except Exception: pass
"""
_NATIVE = """
class Panic(BaseException): pass
raise Panic("called Option::unwrap() on a None value")
"""

BROKEN = (
    Neighbour("raises", "raise RuntimeError('no licence\\nfound')", "RuntimeError: no licence"),
    Neighbour("exits", "import sys; print('bye'); sys.exit(3)", "SystemExit: 3"),
    Neighbour("panics", _NATIVE, "Panic: called Option::unwrap()"),
    Neighbour("syntax", "def", "SyntaxError"),
    Neighbour("hangs", "import time\nwhile True: time.sleep(1)", "still importing after 1 s"),
    Neighbour("swallows", _SWALLOWS, "still importing after 1 s"),
    Neighbour("wrong-type", "RECORD = 3", "resolves to int, expected OptimizerPlugin"),
    Neighbour(
        "wrong-group",
        "from celo.records import Suite\nRECORD = Suite('s', ('t',), 1, 's')",
        "resolves to Suite, expected OptimizerPlugin",
    ),
    Neighbour("wrong-name", _RECORD + "RECORD = record(None)", "name is None, expected str"),
    Neighbour("no-name", _RECORD + "RECORD = record(' ')", "its name is empty"),
    Neighbour(
        "wrong-field",
        _RECORD + "RECORD = record('w', aliases='big_cat')",
        "aliases is 'big_cat', expected a tuple of str",
    ),
    Neighbour(
        "old",
        _RECORD + "RECORD = record('old', api_version=0)",
        "'old' was written for API version 0, this celo has 1",
    ),
    Neighbour("no-attribute", "", "AttributeError: module 'bad_no_attribute' has no attribute"),
    Neighbour(
        "no-module",
        points=b"[celo.optimizers]\nbad-no-module = nowhere_to_be_found:RECORD\n",
        reason="ModuleNotFoundError: No module named 'nowhere_to_be_found'",
    ),
    Neighbour(
        "no-target",
        points=b"[celo.optimizers]\nbad-no-target = ???\n",
        reason="AttributeError",
    ),
    Neighbour("no-equals", points=b"[celo.optimizers]\nrubbish\n", reason="its entry_points.txt"),
    Neighbour("binary-points", points=b"\xff\xfe\x00", reason="its entry_points.txt cannot be"),
    Neighbour("binary-metadata", metadata=b"\xff\xfe\x00", reason="its METADATA cannot be read"),
    Neighbour("empty-metadata", metadata=b"", reason="its METADATA has no name"),
)

GHOST = Neighbour("ghost", _RECORD + "RECORD = record('ghost', build='bad_elsewhere:build')")

# Prints in every way there is, on import of the record and of the implementation.
_PRINTS = """
import os, subprocess, sys
print("noise by print")
sys.__stdout__.write("noise around sys.stdout\\n")
os.write(1, b"noise by descriptor\\n")
subprocess.run(["echo", "noise by a child"])
"""
NOISY = Neighbour(
    "noisy",
    _PRINTS + _RECORD + "RECORD = record('noisy', build='bad_noisy_implementation:build')",
)
NOISY_IMPLEMENTATION = (
    _PRINTS
    + """
def build():
    import optax
    from celo.optim import from_optax
    return from_optax(optax.sgd(0.1), name="noisy")
"""
)


def path_with(site: Path) -> str:
    """A PYTHONPATH that starts with the folder."""
    inherited = os.environ.get("PYTHONPATH")
    return str(site) + (f"{os.pathsep}{inherited}" if inherited else "")
