"""How a backend is found by its name: built in, or registered by an upper layer."""

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from pocketcrafter.runtime.backends.base import Backend, Session
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError

ONLY_A_DEVICE: Final = "its artifacts run on a phone only: re-run the goldens there"
ENTRY_POINTS: Final = "pocketcrafter.backends"
"""Entry-point group through which upper layers register backends that the runtime cannot import."""


class DeviceBackend:
    """Runs nothing: what it stands for is a phone."""

    def missing(self) -> str | None:
        """Return why nothing runs here; no installation mends it."""
        return ONLY_A_DEVICE

    def open(self, artifact: Path, spec: ComponentSpec, threads: int) -> Session:  # noqa: ARG002 - no phone is here
        """Refuse.

        Parameters
        ----------
        artifact
            Named in the message.
        spec, threads
            Not used.

        Raises
        ------
        BackendError
            Always.
        """
        raise BackendError(f"{artifact}: {ONLY_A_DEVICE}.")


@runtime_checkable
class WeightsBackend(Backend, Protocol):
    """A backend that runs the full-precision student from the weights a bundle was built from, not from an artifact."""

    def weights(self, name: str) -> Path:
        """Return where the weights file that the manifest records under ``name`` lies on this machine.

        Raises
        ------
        BackendError
            If this installation does not have it.
        """

    def student(
        self, family: str, weights: Path, spec: ComponentSpec, threads: int, function: str | None = None
    ) -> Session:
        """Open a component's weights, whose network the family knows; a further function of it where one is named.

        Parameters
        ----------
        family
            The family that the bundle's manifest names.
        weights
            The weights' file.
        spec
            The component's contract.
        threads
            Threads to compute with, ≥ 1.
        function
            A further function of the network by name; the main one when `None`.

        Raises
        ------
        BackendError
            If this installation does not know the family, or the network has no such function.
        """


_BUILT_IN: Final[Mapping[BackendName, str]] = {
    BackendName.ONNXRUNTIME: "onnxruntime:OnnxRuntimeBackend",
    BackendName.EXECUTORCH: "executorch:ExecutorchBackend",
    BackendName.QNN_EMULATOR: "qnn:QnnEmulatorBackend",
    BackendName.EXECUTORCH_QNN_EMULATOR: "executorch_qnn:ExecutorchQnnBackend",
    BackendName.COREAI: "coreai:CoreAiBackend",
    BackendName.LITERT: "litert:LiteRtBackend",
    BackendName.DEVICE: "registry:DeviceBackend",
}
"""Module and class, imported when asked for: a process pays for the one runtime that it uses."""


def get_backend(name: BackendName) -> Backend:
    """Return a backend, whether or not it can run here (ask :meth:`Backend.missing`).

    Raises
    ------
    BackendError
        If no installed package provides it.
    """
    if name in _BUILT_IN:
        module, _, provided = _BUILT_IN[name].partition(":")
        built_in: Callable[[], Backend] = getattr(import_module(f"{__package__}.{module}"), provided)
        return built_in()
    for entry in entry_points(group=ENTRY_POINTS, name=name.value):
        try:
            provider: Callable[[], Backend] = entry.load()
        except ImportError as error:
            raise BackendError(_install(name, f"{error}")) from error
        return provider()
    raise BackendError(_install(name, "no installed package provides it"))


def usable_backend(name: BackendName) -> Backend:
    """Return a backend that can run here.

    Raises
    ------
    BackendError
        If it cannot, with the command that mends it.
    """
    backend = get_backend(name)
    if reason := backend.missing():
        raise BackendError(f"The {name} backend cannot run: {reason}")
    return backend


def why_unusable(name: BackendName) -> str | None:
    """Return why a backend cannot run here and the command that mends it, or `None` when it can."""
    try:
        return get_backend(name).missing()
    except BackendError as error:
        return str(error)


def _install(name: BackendName, reason: str) -> str:
    return f"The {name} backend cannot run ({reason}): pip install 'pocketcrafter[build]'"
