"""Apple's Core AI runtime: the backend of `coreai` targets, on Linux and macOS; needs the extra `coreai`.

The runtime is Apple's own, so its figures prove the numbers of an asset; which unit of a phone computes them, and how
fast, only a phone tells.
"""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import cache
from pathlib import Path
from typing import Any, Final, Self
from weakref import WeakValueDictionary, finalize

import numpy as np

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session, checked_inputs, named_outputs
from pocketcrafter.runtime.components import ComponentSpec, TensorSpec
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.requirements import required, unmet

MEND: Final = "pip install 'pocketcrafter[coreai]'"
MAIN: Final = "main"
"""The function of an asset that is the component's contract."""
PROGRAM: Final = "main.mlirb"
DIGEST: Final = "main.hash"
METADATA: Final = "metadata.json"
"""The three files of an asset: the program, its SHA-256 in 32 bytes, and who made it when."""


def why_no_coreai() -> str | None:
    """Return why Core AI's runtime cannot run here and the command that mends it, or `None` when it can."""
    if importlib.util.find_spec("coreai") is None:
        return f"coreai-core is not installed (it has wheels for Linux on x86-64 and for macOS): {MEND}"
    return why_misfit()


@cache
def why_misfit() -> str | None:
    """Return which of Apple's packages are of a version that the extra does not take, and what mends it, or `None`."""
    apples = (requirement for requirement in required("coreai") if requirement.name.startswith("coreai"))
    wrong = [f"{wanted} is needed, not {version}" for wanted, version in unmet(apples).items() if version]
    return f"{', '.join(wrong)}: {MEND}" if wrong else None


class CoreAiBackend:
    """Runs `.aimodel` assets."""

    def missing(self) -> str | None:
        """Return the command that installs the runtime, or `None` when it is there."""
        return why_no_coreai()

    def open(self, artifact: Path, spec: ComponentSpec, threads: int) -> Session:  # noqa: ARG002 - no setting for it
        """Open an asset and compare its inputs and outputs with the spec.

        Parameters
        ----------
        artifact
            An ``.aimodel``.
        spec
            What the inputs and outputs of its function `main` must be; they may be float16 there.
        threads
            Not used: the runtime has no setting for it.

        Raises
        ------
        BackendError
            If the runtime is missing, or the asset cannot be opened or does not keep the spec.
        """
        return CoreAiSession(OpenAsset.new(artifact), spec, MAIN)

    def open_function(self, artifact: Path, spec: ComponentSpec, threads: int, function: str) -> "CoreAiSession":  # noqa: ARG002 - as above
        """Open a further function; the rest as in :meth:`open`.

        Where the asset is open already, it is shared: another would compile it and hold its weights a second time.

        Parameters
        ----------
        artifact
            An ``.aimodel``.
        spec
            What the inputs and outputs of the function must be, without its states.
        threads
            Not used.
        function
            Name of the function.

        Raises
        ------
        BackendError
            As :meth:`open`, or if the asset has no such function.
        """
        return CoreAiSession(OpenAsset.shared(artifact), spec, function)


class OpenAsset:
    """An asset that is compiled for this machine and open.

    The runtime's calls are coroutines. A thread of the asset's own drives them, so that its functions can be used from
    synchronous code and from a running event loop alike.
    """

    def __init__(self, artifact: Path) -> None:
        if reason := why_no_coreai():
            raise BackendError(f"The coreai backend cannot run: {reason}")
        _check_whole(artifact)
        self.path = artifact
        self._thread = ThreadPoolExecutor(1, "coreai")
        # Imported where an asset opens: nothing else here needs its 3 MiB.
        self._loop = self._thread.submit(importlib.import_module("asyncio").new_event_loop).result()
        self._stack = AsyncExitStack()
        self._close = finalize(self, _close, self._thread, self._loop, self._stack)
        # At the interpreter's end its threads take no more work; what is on disk is removed all the same.
        self._close.atexit = False
        try:
            self._model = self.awaited(self._open())
        except Exception as error:  # the runtime's exceptions share no base class
            self._close()
            raise BackendError(f"{artifact}: Core AI cannot open it: {type(error).__name__}: {error}") from error

    @classmethod
    def new(cls, artifact: Path) -> Self:
        """Open an asset, for others to share as long as it is used.

        Raises
        ------
        BackendError
            If the runtime is missing, or the asset cannot be opened.
        """
        opened = cls(artifact)
        _OPEN[_key(artifact)] = opened
        return opened

    @classmethod
    def shared(cls, artifact: Path) -> "OpenAsset":
        """Return an asset that is open already, or open it. Raises as :meth:`new`."""
        try:
            opened = _OPEN.get(_key(artifact))
        except OSError:  # what is no asset is refused as it is opened
            opened = None
        return opened or cls.new(artifact)

    async def _open(self) -> Any:  # noqa: ANN401 - untyped package
        asset = importlib.import_module("coreai.authoring").AIModelAsset.load(self.path.resolve())
        return await self._stack.enter_async_context(asset.executable())

    def function(self, name: str) -> Any:  # noqa: ANN401 - untyped package
        """Return one of its functions.

        Raises
        ------
        BackendError
            If it has none of that name.
        """
        if name not in (has := list(self._model.function_names)):
            raise BackendError(f"{self.path}: it has no function `{name}`; it has {', '.join(has)}.")
        return self._model.load_function(name)

    def awaited(self, coroutine: Any) -> Any:  # noqa: ANN401 - whatever it returns
        """Return what a coroutine returns, in the asset's own thread."""
        return self._thread.submit(self._loop.run_until_complete, coroutine).result()


_OPEN: Final[WeakValueDictionary[tuple[Path, int, int], OpenAsset]] = WeakValueDictionary()
"""Open assets by folder, and their program's time and size."""


def _key(artifact: Path) -> tuple[Path, int, int]:
    stat = (artifact / PROGRAM).stat()
    return artifact.resolve(), stat.st_mtime_ns, stat.st_size


class CoreAiSession:
    """One function of an open asset."""

    def __init__(self, asset: OpenAsset, spec: ComponentSpec, name: str) -> None:
        self._asset, self._spec = asset, spec
        self._function = asset.function(name)
        self._types = self._checked_types()

    def new_state(self) -> dict[str, Any]:
        """Return what the function keeps from call to call, all zero, as the runtime's arrays by name."""
        array, about = importlib.import_module("coreai.runtime").NDArray, self._function.desc
        kept = {name: about.state_descriptor(name) for name in about.state_names}
        return {name: array(np.zeros(tuple(one.shape), one.dtype)) for name, one in kept.items()}

    def run(self, inputs: Mapping[str, FloatArray], state: Mapping[str, Any] | None = None) -> dict[str, FloatArray]:
        """Run once.

        Parameters
        ----------
        inputs
            As for :meth:`pocketcrafter.runtime.backends.base.Session.run`.
        state
            What :meth:`new_state` of a function of this asset gave, which is written to; a new one where the function
            keeps something and none is given.

        Raises
        ------
        ShapeMismatchError, BackendError
            As there.
        """
        array = importlib.import_module("coreai.runtime").NDArray
        arrays = checked_inputs(inputs, self._spec)
        feeds = {name: array(value.astype(self._types[name])) for name, value in arrays.items()}
        kept = dict(self.new_state() if state is None else state)

        async def call() -> dict[str, Any]:
            # Copied before the next call: what the runtime returns is a view of its own buffers.
            return {name: np.array(value.numpy()) for name, value in (await self._function(feeds, kept)).items()}

        try:
            said = self._asset.awaited(call())
        except Exception as error:  # the runtime's exceptions share no base class
            raise BackendError(f"Core AI failed in `{self._spec.name}`: {type(error).__name__}: {error}") from error
        return named_outputs([said[output.name] for output in self._spec.outputs], self._spec)

    def _checked_types(self) -> dict[str, Any]:
        about = self._function.desc
        inputs = {name: about.input_descriptor(name) for name in about.input_names}
        outputs = {name: about.output_descriptor(name) for name in about.output_names}
        for kind, has, wants in (("inputs", inputs, self._spec.inputs), ("outputs", outputs, self._spec.outputs)):
            found = {name: tuple(one.shape) for name, one in has.items()}
            if found != (wanted := _shapes(wants)):
                raise BackendError(
                    f"{self._asset.path}: its {kind} are {found}; the contract of `{self._spec.name}` is {wanted}."
                )
        return {name: np.dtype(one.dtype) for name, one in inputs.items()}


def _check_whole(artifact: Path) -> None:
    """Refuse an asset whose program is not the one that it was sealed with: the runtime would end the process."""
    try:
        program, digest = (artifact / PROGRAM).read_bytes(), (artifact / DIGEST).read_bytes()
        whole = hashlib.sha256(program).digest() == digest and (artifact / METADATA).is_file()
    except OSError:
        whole = False
    if not whole:
        raise BackendError(
            f"{artifact}: not a whole Core AI asset: it must hold {PROGRAM}, {DIGEST}, which is its SHA-256, and "
            f"{METADATA}. Build it again."
        )


def _close(thread: ThreadPoolExecutor, loop: Any, stack: AsyncExitStack) -> None:  # noqa: ANN401 - of asyncio
    if not sys.is_finalizing():
        thread.submit(loop.run_until_complete, stack.aclose())
        thread.submit(loop.close)
    thread.shutdown()


def _shapes(tensors: tuple[TensorSpec, ...]) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tensor.shape for tensor in tensors}
