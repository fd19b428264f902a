"""A bundle opened for running: its manifest, its files and its sessions."""

import tempfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pocketcrafter.runtime.backends.base import Backend, FunctionBackend, Session
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.backends.registry import WeightsBackend, usable_backend
from pocketcrafter.runtime.bundle.archive import unpack
from pocketcrafter.runtime.bundle.integrity import (
    HASHES,
    DamagedBundleError,
    KnownHashes,
    Stamp,
    changed_file,
    content_problems,
    extra_files,
    read_manifest_bytes,
    sha256_of,
    structure_problems,
)
from pocketcrafter.runtime.bundle.manifest import (
    MANIFEST,
    ArtifactFunction,
    ComponentEntry,
    FileEntry,
    Manifest,
    parse_manifest,
)
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError, BundleError, ConfigError
from pocketcrafter.runtime.files import user_cache
from pocketcrafter.runtime.targets import AUTO_ORDER, TARGETS
from pocketcrafter.runtime.validation import path_of


@dataclass(frozen=True)
class Bundle:
    """An opened bundle.

    ``path`` is what was opened, ``root`` the directory of its files: the same, or for a zip a temporary directory that
    lives as long as this object.
    """

    path: Path
    root: Path
    manifest: Manifest
    _hashes: KnownHashes = field(repr=False)
    _unpacked: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False)

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open a bundle directory or a zip of one and check all that is cheap: manifest, paths, presence and sizes.

        Raises
        ------
        BundleError
            If it is not a bundle, damaged, or written by a newer version; or if there is no room to unpack it.
        ConfigError
            If ``path`` is no path.
        """
        path = path_of(path, "A bundle")
        if path.is_dir():
            return cls._open_directory(path, path, None)
        if not path.is_file():
            raise BundleError(f"{path}: no such bundle. `pocketcrafter build` makes one.")
        if not zipfile.is_zipfile(path):
            raise BundleError(f"{path}: neither a bundle directory nor a zip of one.")
        try:
            unpacked = tempfile.TemporaryDirectory(prefix="pcbundle-")
        except OSError as error:
            raise BundleError(
                f"{path}: there is no temporary folder to unpack it to ({error}). Set TMPDIR to one that can be "
                "written to and has room, or unpack the bundle yourself and open its folder."
            ) from error
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
        # A folder that is removed at the end is never met again: its hashes are not kept.
        hashes = KnownHashes(user_cache() / HASHES if unpacked is None else None)
        return cls(shown, root, manifest, hashes, unpacked)

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

    def file(self, path: str) -> Path:
        """Return where a file of the manifest lies, or a package, once its content is known to be the manifest's.

        Parameters
        ----------
        path
            As the manifest has it; for a package, its folder.

        Raises
        ------
        BundleError
            If the manifest has no such file.
        DamagedBundleError
            If it is not what the manifest says.
        """
        entries = [f for f in self.manifest.files if f.path == path or f.path.startswith(f"{path}/")]
        if not entries:
            raise BundleError(f"{self.path}: the bundle has no `{path}`.")
        self._intact(entries)
        return self.root / path

    def artifact(self, entry: ComponentEntry, target: str) -> Path:
        """Return where a component's artifact lies, once it and what it may read are known to be the manifest's.

        Raises
        ------
        BundleError
            As :meth:`file` does, and if the bundle has no such target.
        """
        return self._artifact(entry, target)[0]

    def _artifact(self, entry: ComponentEntry, target: str) -> tuple[Path, dict[str, Stamp]]:
        """Return an artifact and the stamps of all it may read: files beside it, too, which are no other artifact's."""
        if target not in entry.artifacts:
            raise BundleError(f"{self.path}: no target `{target}`; it has {', '.join(entry.artifacts)}.")
        own = entry.artifacts[target].path
        others = {a.path for component in self.manifest.components for a in component.artifacts.values()} - {own}
        folder = f"{own.rpartition('/')[0]}/"
        beside = [f for f in self.manifest.files if f.path.startswith(folder)]
        # A model may keep its weights in a file of any name in its own folder.
        read = [f for f in beside if not any(f.path == other or f.path.startswith(f"{other}/") for other in others)]
        return self.root / own, self._intact(read)

    def _intact(self, entries: Iterable[FileEntry]) -> dict[str, Stamp]:
        """Return files' stamps by path; raises `DamagedBundleError` unless every content is the manifest's."""
        problems, stamps = [], {}
        for entry in entries:
            try:
                digest, stamps[entry.path] = self._hashes.sha256(self.root / entry.path)
            except OSError as error:
                problems.append(f"`{entry.path}` cannot be read: {error.strerror}.")
            else:
                problems += [changed_file(entry.path)] * (digest != entry.sha256)
        if problems:
            raise DamagedBundleError(self.path, problems)
        return stamps

    def target_for(self, backend: BackendName | None = None) -> str:
        """Return the name of the first target that a backend runs; without one, of the first in `AUTO_ORDER`.

        Raises
        ------
        BundleError
            If the bundle has no such target.
        """
        targets = self.manifest.targets
        for kind in AUTO_ORDER if backend is None else (*AUTO_ORDER, *(target.kind for target in targets.values())):
            for name, target in targets.items():
                if target.kind == kind and backend in {None, target.backend}:
                    return name
        has = ", ".join(f"{name} ({t.backend})" for name, t in self.manifest.targets.items())
        raise BundleError(f"{self.path}: no target for the backend {backend or 'auto'}; the bundle has {has}.")

    def chosen_targets(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the targets that a person named, each once; all of them where none was named.

        Raises
        ------
        ConfigError
            If the bundle has no target of a name.
        """
        return self._chosen("target", names, tuple(self.manifest.targets))

    def chosen_components(self, names: Sequence[str]) -> tuple[ComponentEntry, ...]:
        """Return the components that a person named, each once; all of them where none was named.

        Raises
        ------
        ConfigError
            If the bundle has no component of a name.
        """
        has = tuple(entry.spec.name for entry in self.manifest.components)
        return tuple(self.manifest.entry(name) for name in self._chosen("component", names, has))

    def _chosen(self, what: str, names: Sequence[str], has: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in names if name not in has]:
            raise ConfigError(f"{self.path}: no {what} `{unknown[0]}`; it has {', '.join(has)}.")
        return tuple(dict.fromkeys(names)) or has

    def has(self, component: str) -> bool:
        """Whether the bundle holds a component."""
        return any(entry.spec.name == component for entry in self.manifest.components)

    def session(
        self, component: str, threads: int, backend: BackendName | None = None, function: str | None = None
    ) -> Session:
        """Open a component on one backend; never falls back to another.

        Parameters
        ----------
        component
            Which network.
        threads
            Threads to compute with, ≥ 1.
        backend
            Which backend; `None` takes the one of the bundle's first target in `AUTO_ORDER`.
        function
            Which further function of the component; `None` opens the default one.

        Raises
        ------
        BundleError
            If the bundle lacks the component or a target for the backend, or a file of the artifact was changed.
        ConfigError
            If the component has no such function.
        BackendError
            If the backend cannot run here, with the command that mends it.
        """
        entry = self.manifest.entry(component)
        if backend is BackendName.TORCH:
            return self._student_session(entry, threads, function)
        return self.target_session(component, threads, self.target_for(backend), function)

    def target_session(self, component: str, threads: int, target: str, function: str | None = None) -> Session:
        """Open a component's artifact for one of the bundle's targets; raises as :meth:`session` does.

        Parameters
        ----------
        component
            The component's name.
        threads
            Threads to compute with, ≥ 1.
        target
            The target's name in the manifest.
        function
            A further function of the artifact by name; the main one when `None`.

        Raises
        ------
        BundleError
            If the bundle has no such component or target.
        DamagedBundleError
            If the artifact's content is not the manifest's, or changes while it is opened.
        BackendError
            If the artifact cannot be opened here.
        """
        entry = self.manifest.entry(component)
        path, stamps = self._artifact(entry, target)
        backend = usable_backend(TARGETS[self.manifest.targets[target].kind].backend)
        session = open_artifact(backend, path, entry.spec, entry.artifacts[target].functions, threads, function)
        # The backend, or a process of its own, read the files again: what it read must be what was hashed.
        if changed := [name for name, stamp in stamps.items() if not stamp.is_of(self.root / name)]:
            raise DamagedBundleError(self.path, [f"`{name}` was changed while it was opened." for name in changed])
        return session

    def _student_session(self, entry: ComponentEntry, threads: int, function: str | None) -> Session:
        backend = usable_backend(BackendName.TORCH)
        if not isinstance(backend, WeightsBackend):
            raise BackendError("The registered torch backend cannot find weights; update the package that provides it.")
        try:
            weights = backend.weights(entry.source.weights)
        except BackendError as error:
            raise BackendError(f"{error} Choose another backend: --backend auto") from error
        if sha256_of(weights) != entry.source.sha256:
            raise BackendError(
                f"{weights}: not the weights that `{entry.spec.name}` in {self.path} was built from. "
                "Build the bundle again: pocketcrafter build"
            )
        return backend.student(self.manifest.family, weights, entry.spec, threads, function)


def open_artifact(
    backend: Backend,
    path: Path,
    spec: ComponentSpec,
    functions: Sequence[ArtifactFunction],
    threads: int,
    function: str | None,
) -> Session:
    """Open an artifact's default function, or a further one: in a file of its own, or by its name in the artifact.

    Parameters
    ----------
    backend
        What runs the artifact.
    path
        Where the artifact lies, with its other files beside it.
    spec, functions
        The component's contract, and the artifact's own functions.
    threads
        Threads to compute with, ≥ 1.
    function
        Which function of the contract; `None` for the default one.

    Raises
    ------
    ConfigError
        If the contract has no such function.
    BackendError
        If the artifact or the backend has no such function, or the artifact does not keep the contract.
    """
    wanted = spec.of(function)
    if function is None:
        return backend.open(path, wanted, threads)
    made = next((known for known in functions if known.name == function), None)
    if made is None:
        raise BackendError(f"{path}: lacks the function `{function}` of `{spec.name}`.")
    if made.file is not None:
        return backend.open(path.with_name(made.file), wanted, threads)
    if not isinstance(backend, FunctionBackend):
        raise BackendError(f"{path}: its backend cannot open the function `{function}`, only the default one.")
    return backend.open_function(path, wanted, threads, function)
