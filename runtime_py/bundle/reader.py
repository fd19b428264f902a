"""A bundle opened for running: its manifest, its files and its sessions."""

import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.backends.names import AUTO_ORDER, BACKEND_OF, BackendName
from pocketcrafter.runtime.backends.registry import WeightsBackend, usable_backend
from pocketcrafter.runtime.bundle.archive import unpack
from pocketcrafter.runtime.bundle.integrity import (
    DamagedBundleError,
    content_problems,
    extra_files,
    read_manifest_bytes,
    sha256_of,
    structure_problems,
)
from pocketcrafter.runtime.bundle.manifest import MANIFEST, ComponentEntry, Manifest, parse_manifest
from pocketcrafter.runtime.components import Component
from pocketcrafter.runtime.errors import BackendError, BundleError


@dataclass(frozen=True)
class Bundle:
    """An opened bundle.

    ``path`` is what was opened, ``root`` the directory of its files: the same, or for a zip a temporary directory that
    lives as long as this object.
    """

    path: Path
    root: Path
    manifest: Manifest
    _unpacked: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a bundle directory or a zip of one and check all that is cheap: manifest, paths, presence and sizes.

        Raises
        ------
        BundleError
            If it is not a bundle, damaged, or written by a newer version.
        """
        if path.is_dir():
            return cls._open_directory(path, path, None)
        if not path.is_file():
            raise BundleError(f"{path}: no such bundle. `pocketcrafter build` makes one.")
        if not zipfile.is_zipfile(path):
            raise BundleError(f"{path}: neither a bundle directory nor a zip of one.")
        unpacked = tempfile.TemporaryDirectory(prefix="pcbundle-")
        try:
            unpack(path, Path(unpacked.name))
            return cls._open_directory(path, Path(unpacked.name), unpacked)
        except BaseException:
            unpacked.cleanup()
            raise

    @classmethod
    def _open_directory(cls, shown: Path, root: Path, unpacked: tempfile.TemporaryDirectory[str] | None) -> Self:
        manifest = parse_manifest(read_manifest_bytes(root), f"{shown}/{MANIFEST}")
        if problems := structure_problems(root, manifest.files):
            raise DamagedBundleError(shown, problems)
        return cls(shown, root, manifest, unpacked)

    def check_integrity(self, progress: Callable[[int], None] = lambda _: None) -> None:
        """Hash every file again and look for files that do not belong.

        Parameters
        ----------
        progress
            Told the bytes of each block read.

        Raises
        ------
        DamagedBundleError
            If anything differs from the manifest; it lists every fault.
        """
        files = self.manifest.files
        problems = structure_problems(self.root, files)
        if not problems:
            problems = content_problems(self.root, files, progress)
        problems += extra_files(self.root, files)
        if problems:
            raise DamagedBundleError(self.path, problems)

    def target_for(self, backend: BackendName | None = None) -> str:
        """Return the name of the target that a backend runs; without one, of the first in `AUTO_ORDER`.

        Raises
        ------
        BundleError
            If the bundle has no such target.
        """
        for kind in AUTO_ORDER:
            for name, target in self.manifest.targets.items():
                if target.kind is kind and backend in {None, target.backend}:
                    return name
        has = ", ".join(f"{name} ({t.backend})" for name, t in self.manifest.targets.items())
        raise BundleError(f"{self.path}: no target for the backend {backend or 'auto'}; the bundle has {has}.")

    def has(self, component: Component) -> bool:
        """Whether the bundle holds a component."""
        return any(entry.spec.component is component for entry in self.manifest.components)

    def session(self, component: Component, threads: int, backend: BackendName | None = None) -> Session:
        """Open a component on one backend; never falls back to another.

        Parameters
        ----------
        component
            Which network.
        threads
            Threads to compute with, ≥ 1.
        backend
            Which backend; `None` takes the one of the bundle's first target in `AUTO_ORDER`.

        Raises
        ------
        BundleError
            If the bundle lacks the component or a target for the backend.
        BackendError
            If the backend cannot run here, with the command that mends it.
        """
        entry = self.manifest.entry(component)
        if backend is BackendName.TORCH:
            return self._student_session(entry, threads)
        return self.target_session(component, threads, self.target_for(backend))

    def target_session(self, component: Component, threads: int, target: str) -> Session:
        """Open a component's artifact for one of the bundle's targets; raises as :meth:`session` does."""
        entry = self.manifest.entry(component)
        if target not in entry.artifacts:
            raise BundleError(f"{self.path}: no target `{target}`; it has {', '.join(entry.artifacts)}.")
        backend = usable_backend(BACKEND_OF[self.manifest.targets[target].kind])
        return backend.open(self.root / entry.artifacts[target].path, entry.spec, threads)

    def _student_session(self, entry: ComponentEntry, threads: int) -> Session:
        backend = usable_backend(BackendName.TORCH)
        if not isinstance(backend, WeightsBackend):
            raise BackendError("The registered torch backend cannot find weights; update the package that provides it.")
        weights = backend.weights(entry.source.weights)
        if sha256_of(weights) != entry.source.sha256:
            raise BackendError(
                f"{weights}: not the weights that `{entry.spec.component}` in {self.path} was built from. "
                "Build the bundle again: pocketcrafter build"
            )
        return backend.open(weights, entry.spec, threads)
