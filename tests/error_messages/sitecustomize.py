"""With this folder on PYTHONPATH, every Python process notes which errors of the product it makes.

They go into the folder `ERRORS_MET_FOLDER`; `unmet.py` reads it. The modules of the product are
compiled with a note before every such place (`error_sites.sites_of`); all else is as it was.
"""

from __future__ import annotations

import builtins
import contextlib
import os
import secrets
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType
from typing import Any

_PACKAGES = {"celo", "celo_plugins", "celo_zoo"}
# Bound here: tests replace these functions by ones that fail.
_open, _write = os.open, os.write


class _Notes:
    """A file of this process, with one line for every site that was met."""

    def __init__(self, folder: str):
        self.path = os.path.join(folder, f"met-{os.getpid()}-{secrets.token_hex(4)}")
        self.met: set[str] = set()

    def __call__(self, key: str) -> None:
        if key in self.met:
            return
        self.met.add(key)
        with contextlib.suppress(OSError):
            # At once and whole: the next thing that happens may be a SIGKILL.
            handle = _open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            _write(handle, f"{key}\n".encode())
            os.close(handle)


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, folder: str):
        super().__init__(name, path)
        self.folder = folder

    def source_to_code(self, data: Any, path: Any, **options: Any) -> CodeType:
        import error_sites

        tree = error_sites.sites_of(self.name, bytes(data).decode("utf-8"))[1]
        return compile(tree, path, "exec", dont_inherit=True)

    # Compiled code is kept as ever, but elsewhere: the checkout's own stays what it is.
    def get_data(self, path: str) -> bytes:
        return super().get_data(self._elsewhere(path))

    def set_data(self, path: str, data: Any, **options: Any) -> None:
        super().set_data(self._elsewhere(path), data, **options)

    def _elsewhere(self, path: str) -> str:
        return os.path.join(self.folder, f"{self.name}.pyc") if path.endswith(".pyc") else path


class _Finder:
    def __init__(self, folder: str):
        self.folder = folder

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name.partition(".")[0] not in _PACKAGES:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                if type(spec.loader) is SourceFileLoader and spec.origin:
                    spec.loader = _Loader(name, spec.origin, self.folder)
                return spec
        return None


if _folder := os.environ.get("ERRORS_MET_FOLDER"):
    setattr(builtins, "__celo_error_met__", _Notes(_folder))  # noqa: B010  (typed nowhere)
    sys.meta_path.insert(0, _Finder(_folder))
