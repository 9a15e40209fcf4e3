"""Finds where the product makes an error with a message, and has such places say when they run."""

from __future__ import annotations

import ast
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = {
    "celo": REPOSITORY / "celo",
    "celo_plugins": REPOSITORY / "plugins" / "celo_plugins",
    "celo_zoo": REPOSITORY / "zoo" / "celo_zoo",
}
MARK = "__celo_error_met__"

_ERROR = re.compile(r"_?[A-Z]\w*(Error|Parameter|Exception)")
_SILENT = {"Exit", "Abort", "SystemExit", "KeyboardInterrupt"}


@dataclass(frozen=True)
class Site:
    """One place where an error is made.

    Attributes:
      module: it stands in.
      line: of its file.
      error: what is called: a class of errors, or a function that makes one.
      text: the call as written.
      key: the same for the same call in the same function, wherever in the file that stands.
    """

    module: str
    line: int
    error: str
    text: str
    key: str


def sites_of(module: str, source: str) -> tuple[list[Site], ast.Module]:
    """The sites of a module, and its code in which every one of them calls `MARK(key)` first.

    A site is a call with arguments that is raised, or that makes an object of a class of errors.
    """
    tree = ast.parse(source)
    finder = _Finder(module)
    changed = finder.visit(tree)
    return finder.found, ast.fix_missing_locations(changed)


def all_sites() -> list[tuple[Path, Site]]:
    """Every site of the product and the file it is in."""
    found = []
    for package, root in PACKAGES.items():
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join((package, *(part for part in parts if part != "__init__")))
            found += [(path, site) for site in sites_of(name, path.read_text("utf-8"))[0]]
    return found


class _Finder(ast.NodeTransformer):
    def __init__(self, module: str):
        self.module = module
        self.scope: list[str] = []
        self.raised: list[ast.AST] = []
        self.found: list[Site] = []

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            self.scope.append(node.name)
            self.generic_visit(node)
            self.scope.pop()
            return node
        return super().visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if node.exc is not None:
            self.raised.append(node.exc)
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = ast.unparse(node.func).rpartition(".")[2]
        raised = any(node is other for other in self.raised)
        if not (node.args or node.keywords) or name in _SILENT:
            return self.generic_visit(node)
        if not raised and not _ERROR.fullmatch(name):
            return self.generic_visit(node)
        text = ast.unparse(node)
        identity = f"{self.module}:{'.'.join(self.scope)}:{text}"
        key = hashlib.sha256(identity.encode()).hexdigest()[:32]
        self.found.append(Site(self.module, node.lineno, name, text, key))
        self.generic_visit(node)
        mark = ast.Call(ast.Name(MARK, ast.Load()), [ast.Constant(key)], [])
        return ast.copy_location(ast.BoolOp(ast.Or(), [mark, node]), node)
