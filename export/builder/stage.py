"""A stage: a function, its inputs and settings; its key is the hash of everything that its result depends on."""

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Final, Union

from pocketcrafter.export.builder.source_hash import source_hash
from pocketcrafter.export.content import FolderFiles, content_hash
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.targets import TARGETS

_FORMAT: Final = 1
"""Raised when a key or a cached result changes its meaning."""


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
