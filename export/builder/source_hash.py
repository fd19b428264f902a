"""Hash of the source code that a stage runs: its module and all of this project that it imports, transitively."""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pocketcrafter

_PACKAGE: Final = "pocketcrafter"
_ROOT: Final = Path(pocketcrafter.__file__).parent


@cache
def source_hash(module: str) -> str:
    """Return a hash of the source of a module and of all project modules that it imports.

    Reads source without importing it, so that asking costs no torch import. Imports inside functions count; modules
    named only in strings, or imported for type checkers alone, do not. Other packages do not count either: their
    versions are part of a stage's key.
    """
    return _hash_of(tuple(sorted(imported_modules(module))))


def imported_modules(module: str) -> frozenset[str]:
    """Return the project modules that running a module imports, itself and the packages above it included."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found or _file_of(name) is None:
            continue
        found.add(name)
        waiting += [name.rpartition(".")[0], *_imports(name)]
    return frozenset(found)


@cache
def _imports(module: str) -> tuple[str, ...]:
    file = _file_of(module)
    if file is None:
        return ()
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    return tuple(_named_imports(ast.parse(file.read_bytes()), package))


def _named_imports(tree: ast.AST, package: str) -> Iterator[str]:
    for node in _executed(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, node.module] if node.module else above)
            # What is imported may be a module or something in one; what is no module has no file.
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a tree without what stands under ``if TYPE_CHECKING:``."""
    yield node
    children = ast.iter_child_nodes(node)
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        children = iter(node.orelse)
    for child in children:
        yield from _executed(child)


@cache
def _file_of(module: str) -> Path | None:
    parts = module.split(".")
    if parts[0] != _PACKAGE:
        return None
    path = _ROOT.joinpath(*parts[1:])
    candidates = (path / "__init__.py", path.with_suffix(".py")) if len(parts) > 1 else (path / "__init__.py",)
    return next((c for c in candidates if c.is_file()), None)


@cache
def _hash_of(modules: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for module in modules:
        file = _file_of(module)
        if file is not None:
            digest.update(f"{module}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()
