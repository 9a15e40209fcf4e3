"""Writes a package for one new optimizer: `celo plugins new NAME [--learned]`."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

from celo import registry
from celo.errors import UsageError
from celo.records import API_VERSION, canonical_name

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 40

# Path in the package -> template; `KIND` becomes "handcrafted" or "learned".
_FILES = {
    "README.md": "readme.KIND",
    "pyproject.toml": "pyproject",
    "MODULE/__init__.py": "init",
    "MODULE/records.py": "records.KIND",
    "MODULE/optimizer.py": "optimizer.KIND",
    "tests/test_MODULE.py": "tests",
}


@dataclass(frozen=True)
class NewPackage:
    """What was written.

    Attributes:
      folder: of the package.
      distribution: its name for pip.
      spec: how the new optimizer is asked for.
      files: relative to the folder, sorted.
    """

    folder: Path
    distribution: str
    spec: str
    files: tuple[str, ...]


def write_package(name: str, parent: Path, *, learned: bool = False) -> NewPackage:
    """Writes a package that installs and passes its tests as it is; whole or not at all.

    Args:
      name: of the optimizer. The distribution is `celo-NAME`, in a folder of that name.
      parent: folder in which that folder is made.
      learned: a learned optimizer instead of an optax one.

    Raises:
      UsageError: no valid name, the name is taken, or the folder exists or cannot be made.
    """
    distribution = _check_name(name)
    folder = parent / distribution
    if folder.exists() or folder.is_symlink():
        raise UsageError(
            f"{folder} exists already, and nothing in it is overwritten",
            hint="choose another name, or another place with --output",
        )
    module = distribution.replace("-", "_")
    if importlib.util.find_spec(module) is not None:
        raise UsageError(
            f"{name!r} would be the package {module}, which is installed already",
            hint="choose another name: two packages with one name overwrite each other",
        )
    spec = f"{name}@random:0" if learned else f"{name}:lr=0.1"
    values = {
        "name": name,
        "distribution": distribution,
        "module": module,
        "Class": "".join(part.capitalize() for part in name.split("-")),
        "spec": spec,
        "api_version": str(API_VERSION),
    }
    files = {
        path.replace("MODULE", module): Template(_template(template, learned)).substitute(values)
        for path, template in _FILES.items()
    }
    try:
        _write_whole(folder, files)
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error.strerror or error}") from error
    return NewPackage(folder, distribution, spec, tuple(sorted(files)))


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        plain = re.sub(r"[^a-z0-9]+", "-", canonical_name(name)).strip("-")[:_LONGEST]
        good = plain if _NAME.fullmatch(plain) else "my-optimizer"
        raise UsageError(
            f"{name!r} cannot be the name of an optimizer: expected at most {_LONGEST} small "
            "letters and digits, in words joined by '-', starting with a letter",
            hint=f"for example: celo plugins new {good}",
        )
    known = registry.optimizers()
    found = known.found.get(known.aliases.get(name, name))
    if found is not None:
        raise UsageError(
            f"{name!r} is taken by an optimizer of {found.origin.distribution}",
            hint="choose another name: two packages with one name stand in each other's way",
        )
    return name if name.startswith("celo-") else f"celo-{name}"


def _template(name: str, learned: bool) -> str:
    file = name.replace("KIND", "learned" if learned else "handcrafted") + ".txt"
    return (resources.files("celo.scaffold") / "templates" / file).read_text("utf-8")


def _write_whole(folder: Path, files: dict[str, str]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        draft.chmod(0o777 & ~_umask())  # mkdtemp keeps others out, which suits no source code
        for path, text in files.items():
            (draft / path).parent.mkdir(parents=True, exist_ok=True)
            (draft / path).write_text(text, encoding="utf-8")
        os.rename(draft, folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
