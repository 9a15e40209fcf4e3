"""The house stands as drawn: arrows, rooms, packages."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shared_folder import REPOSITORY

ROOTS = {
    "celo": REPOSITORY / "celo",
    "celo_plugins": REPOSITORY / "plugins" / "celo_plugins",
    "celo_zoo": REPOSITORY / "zoo" / "celo_zoo",
}
GROUND = {
    *("data_parts", "errors", "files", "hub", "hyperparameters"),
    *("meta_records", "text", "records", "protocol", "trees"),
}
# room -> rooms it may import, besides the ground floor
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "files": set(),
    "hub": set(),
    "text": set(),
    "records": set(),
    "data_parts": set(),
    "hyperparameters": set(),
    "meta_records": set(),
    "protocol": set(),
    "trees": set(),
    "guard": set(),
    "discovery": {"guard"},
    "registry": {"discovery", "guard"},
    "modifiers": set(),
    "spec": {"modifiers"},
    "lopt": set(),
    "optim": set(),
    "interop": {"data", "guard", "lopt", "optim", "registry"},
    "loading": {"interop", "lopt", "modifiers", "optim", "registry", "spec", "celo_zoo"},
    "factory": {"loading"},
    "utils": {"lopt", "celo_zoo"},
    "pages": {"spec", "loading", "celo_zoo"},
    "data": {"registry"},
    "metrics": set(),
    "tasks": {"data", "registry"},
    "estimators": set(),
    "metatrain": {
        "estimators",
        "tasks",
        "data",
        "lopt",
        "registry",
        "spec",
        "loading",
        "celo_zoo",
    },
    "evaluation": {"tasks", "data", "metrics", "optim", "registry", "spec", "loading"},
    "report": {"evaluation", "metrics"},
    "api": {
        "evaluation",
        "metatrain",
        "optim",
        "lopt",
        "registry",
        "spec",
        "loading",
        "tasks",
        "data",
        "celo_zoo",
    },
    "bench": {"api", "data", "evaluation", "loading", "metatrain", "optim", "spec", "tasks"},
    "scaffold": {"registry"},
    "testing": {"optim", "registry", "spec", "loading", "tasks", "data"},
    "celo_plugins": {"lopt", "optim", "celo_zoo"},
    "celo_zoo": set(),
}
# The zoo stands alone: cards carry the leaves, so it needs no plugin and no contract.
ZOO_GROUND = {"errors", "files", "hub"}


def _modules() -> list[tuple[str, Path]]:
    found = []
    for package, root in ROOTS.items():
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            room = parts[0] if package == "celo" else package
            if room not in ("__init__", "cli"):
                found.append((room, path))
    return found


def _imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for name in _imports(ast.parse(path.read_text())):
        parts = name.split(".")
        if parts[0] == "celo":
            rooms.add(parts[1] if len(parts) > 1 else "__init__")
        elif parts[0] in ROOTS:
            rooms.add(parts[0])
    return rooms


def _imports(tree: ast.AST) -> list[str]:
    names = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            if node.module == "celo":
                names += [f"celo.{alias.name}" for alias in node.names]
            else:
                names.append(node.module or "")
        names += _imports(node)
    return names


@pytest.mark.parametrize("room", sorted(ARROWS))
def test_imports_follow_the_arrows(room: str) -> None:
    paths = [path for r, path in _modules() if r == room]
    assert paths, f"the drawing names {room}, the house has no such room"
    ground = ZOO_GROUND if room == "celo_zoo" else GROUND
    for path in paths:
        extra = _imported_rooms(path) - ARROWS[room] - ground - {room}
        assert not extra, f"{path} imports {sorted(extra)}"


def test_every_room_is_drawn() -> None:
    assert {room for room, _ in _modules()} == set(ARROWS)


def test_no_module_outgrows_its_room() -> None:
    long = {
        str(path): lines
        for _, path in _modules()
        if (lines := len(path.read_text().splitlines())) > 400
    }
    assert not long


def test_setup_cfg_lists_every_package() -> None:
    config = configparser.ConfigParser()
    config.read(REPOSITORY / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    found = set()
    for package, root in ROOTS.items():
        for init in root.rglob("__init__.py"):
            found.add(".".join((package, *init.parent.relative_to(root).parts)))
    assert listed == found


@pytest.mark.parametrize("module", ["celo", "celo.records", "celo.registry", "celo.cli.main"])
def test_light_modules_import_nothing_heavy(module: str) -> None:
    heavy = ("jax", "numpy", "pandas", "rliable", "haiku", "optax", "huggingface_hub", "sklearn")
    code = f"import sys, {module}; print([m for m in {heavy!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_the_library_names_no_optimizer() -> None:
    """`celo` knows optimizers through the registry only."""
    names = {"celo_adam", "celo_phase1", "celo-adam", "adamw", "sgdm"}
    for _, path in _modules():
        if ROOTS["celo"] in path.parents:
            strings = {
                node.value
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            }
            assert not strings & names, path
