"""Where the two pipelines that are compared get their networks: a target's artifacts, or weights in full precision."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pocketcrafter.export.backend import TorchBackend
from pocketcrafter.export.content import content_hash
from pocketcrafter.export.families.family import network_source
from pocketcrafter.export.families.registry import family_of
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.attribute_gate import GateSettings
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.bundle.manifest import ComponentEntry
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.pipeline import gate_of

_FILE: Final = ".safetensors"
"""Ends the name of weights that are one file; other names are those of checkpoints' folders."""


def student_weights(bundle: Bundle, entry: ComponentEntry, folder: Path | None) -> Path:
    """Return the weights that a component was lowered from.

    Parameters
    ----------
    bundle, entry
        The bundle and its component.
    folder
        Where to look first, or the very folder of a checkpoint, whatever it is called now; what this installation
        ships comes second.

    Raises
    ------
    BackendError
        If neither has them, or has others of that name.
    """
    name = Path(entry.source.weights).name
    given = None if folder is None else _in_folder(folder, name)
    lacks = f"{folder} has no `{name}`, so what is installed was looked for. " if folder and not given else ""
    try:
        weights = given or TorchBackend().weights(name)
    except BackendError as error:
        raise BackendError(f"{lacks}{error} Name the folder that has them with --weights.") from error
    read = network_source(family_of(bundle.manifest.family).networks).content(weights)
    if content_hash(read) != entry.source.sha256:
        raise BackendError(
            f"{lacks}{weights}: not the weights that `{entry.spec.name}` in {bundle.path} was built from. Name the "
            "folder that has them with --weights, or build the bundle again: pocketcrafter build"
        )
    return weights


def _in_folder(folder: Path, name: str) -> Path | None:
    """Return the weights of a name in a folder, or the folder itself where the name is a checkpoint's."""
    if (inside := folder / name).exists():
        return inside
    return None if name.endswith(_FILE) else folder


class RememberingSession:
    """A session that keeps what it said last."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.outputs: Mapping[str, FloatArray] = {}

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Run; see `pocketcrafter.runtime.backends.base.Session`."""
        outputs = self._session.run(inputs)
        self.outputs = outputs
        return outputs


@dataclass
class NetworkSource:
    """A bundle's networks, opened once each: of a target, or in torch where ``weights`` are given.

    Attributes
    ----------
    target
        A target of the bundle.
    weights
        Full-precision weights by component. With any, the target is not used.
    """

    bundle: Bundle
    threads: int
    target: str = ""
    weights: Mapping[str, Path] = field(default_factory=dict)
    _open: dict[tuple[str, str | None], RememberingSession] = field(default_factory=dict)

    @property
    def gate(self) -> GateSettings:
        """The bundle's gate."""
        return gate_of(self.bundle.manifest)

    def has(self, component: str) -> bool:
        """Whether the bundle has the component."""
        return self.bundle.has(component)

    def session(self, component: str, function: str | None = None) -> RememberingSession:
        """Open a network, or return it if it is open."""
        if (component, function) not in self._open:
            manifest = self.bundle.manifest
            spec, threads = manifest.entry(component).spec, self.threads
            opened: Session = (
                TorchBackend().student(manifest.family, self.weights[component], spec, threads, function)
                if self.weights
                else self.bundle.target_session(component, threads, self.target, function)
            )
            self._open[component, function] = RememberingSession(opened)
        return self._open[component, function]
