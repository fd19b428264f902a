"""A stage: a function, its inputs and settings; its key is the hash of everything that its result depends on.

Among that is the source code that a stage runs: its module and all of this project that it imports, transitively.
"""

import ast
import hashlib
import json
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Final, Union

import pocketcrafter
from pocketcrafter.export.content import FolderFiles, content_hash
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.targets import TARGETS

_FORMAT: Final = 1
"""Raised when a key or a cached result changes its meaning."""
_PACKAGE: Final = "pocketcrafter"
_ROOT: Final = Path(pocketcrafter.__file__).parent


@dataclass(frozen=True)
class Estimate:
    """What a stage is expected to take on two cores."""

    seconds: float
    ram_mib: int
    disk_mib: int


@dataclass(frozen=True)
class Stage:
    """One step of the build.

    Attributes
    ----------
    name
        For people, and unique in a build: ``lower critic for onnx``.
    run
        ``module:function``, called in a process of its own as ``function(inputs, settings, out, progress)``: ``inputs``
        maps names to paths, ``out`` is an empty directory that receives the result.
    inputs
        Files, directories, some files of a directory, or stages whose result directories are read.
    settings
        Everything else that the function reads.
    tools
        Distributions whose versions matter.
    estimate
        Expected cost.
    modules
        Further modules, or ``module:name``, that the function imports by names in its settings: their source counts
        like its own.
    """

    name: str
    run: str
    inputs: Mapping[str, Union[Path, FolderFiles, "Stage"]]
    settings: Config
    tools: tuple[str, ...]
    estimate: Estimate = field(compare=False)
    modules: tuple[str, ...] = ()

    def key(self) -> str:
        """Return the SHA-256 of input contents, settings, tool versions and the source code that the function runs.

        An input stage counts by its own key. Files are read once, when a stage is first asked: what changes while it
        runs is found by the next build, not filed under a key that the stage never saw.

        Raises
        ------
        OSError
            If an input cannot be read.
        """
        return self._key

    @cached_property
    def _key(self) -> str:
        facts = {
            "format": _FORMAT,
            "run": self.run,
            "inputs": {n: i.key() if isinstance(i, Stage) else content_hash(i) for n, i in self.inputs.items()},
            "settings": self.settings.model_dump(mode="json"),
            "tools": tool_versions(self.tools),
            "source": [source_hash(name.partition(":")[0]) for name in (self.run, *self.modules)],
            "machine": platform.machine(),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def ancestors(self) -> Iterator["Stage"]:
        """Yield every stage that this one needs, each before those that need it; repeated where shared."""
        for source in self.inputs.values():
            if isinstance(source, Stage):
                yield from source.ancestors()
                yield source


Input = Path | FolderFiles | Stage
"""What a stage reads."""


def tool_versions(tools: tuple[str, ...]) -> dict[str, str]:
    """Return the installed version of each distribution, ``absent`` where there is none, and Python's."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python, **{tool: _version(tool) for tool in tools}}


@cache
def _version(tool: str) -> str:
    try:
        return version(tool)
    except PackageNotFoundError:
        return next((found.version for found in distributions(name=tool, path=_toolchains())), "absent")


def _toolchains() -> list[str]:
    """Return where packages of toolchains lie that are installed apart from this one."""
    folders = [folder for row in TARGETS.values() if row.sdk and (folder := row.sdk.folder())]
    return [f"{path}" for folder in folders for path in (folder, *folder.glob("lib/python*/site-packages"))]


@cache
def source_hash(module: str) -> str:
    """Return a hash of the source of a module and of all project modules that it imports.

    Reads source without importing it, so that asking costs no torch import. Imports inside functions count; modules
    named only in strings, or imported for type checkers alone, do not. Other packages do not count either: their
    versions are part of a stage's key.

    Raises
    ------
    ModuleNotFoundError
        If this project has no module of that name.
    """
    if module.partition(".")[0] == _PACKAGE and _file_of(module) is None:
        raise ModuleNotFoundError(f"{module}: a stage runs it, and there is no such module", name=module)
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
