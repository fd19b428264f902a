"""ONNX Runtime on the CPU: the backend of `onnx` targets, in every installation.

Every session of this program is opened here: with exact integers on every processor where a model runs, and, where it
is written to a file, with nothing of this processor in it.
"""

import ctypes
import functools
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

import numpy as np
import onnxruntime as ort

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session, checked_inputs, named_outputs
from pocketcrafter.runtime.backends.onnx_caches import CachesInPlace, has_parts, whole_shapes
from pocketcrafter.runtime.backends.pages import in_large_pages
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError, NotExactHereError
from pocketcrafter.runtime.targets import ORT_SUFFIX

_PROVIDERS: Final = ["CPUExecutionProvider"]

SIGNED_WEIGHTS: Final = {
    "QAttention": (1, 7),
    "MatMulIntegerToFloat": (1, 5),
    "DynamicQuantizeMatMul": (1, 3),
    "QGemm": (3, 5),
    "MatMulInteger": (1, 3),
    "QLinearMatMul": (3, 5),
    "QLinearConv": (3, 5),
}
"""Operators that saturate, each with the places of its weights and of their zero points among its inputs."""

_MMAP_THRESHOLD: Final = -3
"""``M_MMAP_THRESHOLD`` of glibc's `malloc.h`."""
_EXACT_INTEGERS: Final = "session.x64quantprecision"

# MatMulInteger(x: uint8, w: int8), both inputs of the graph: ONNX, which the runtime cannot write, in 96 bytes.
_PRODUCT: Final = bytes.fromhex(
    "08083a560a180a01780a0177120179220d4d61744d756c496e74656765721201705a150a017812100a0e0802120a0a0312016d0a0312016b"
    "5a150a017712100a0e0803120a0a0312016b0a0312016e62090a017912040a02080642040a00100d"
)
# Weights kept outside the model file may only come from its own folder: ONNX Runtime refuses every other path.
_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"
_Key = tuple[Path, int, int, int]
_SESSIONS: Final[WeakValueDictionary[_Key, ort.InferenceSession]] = WeakValueDictionary()
"""Open sessions by file, its time and size, and threads."""


@functools.cache
def saturates() -> bool:
    """Whether ONNX Runtime's products of unsigned by signed 8-bit integers are wrong on this processor.

    The kernels for AVX2, and for AVX-512 without VNNI, add two such products in 16 bits with saturation: 255 × 127
    twice is 32,767 there and not 64,770. With VNNI, on SSE and on ARM the sum has 32 bits. The processor is asked,
    as an emulator does not report its own instruction set.
    """
    session = open_session(_PRODUCT, unoptimized_options())
    product = session.run(None, {"x": np.full((8, 8), 255, np.uint8), "w": np.full((8, 8), 127, np.int8)})[0]
    return bool((product != 8 * 255 * 127).any())


def run_options(threads: int | None = None) -> ort.SessionOptions:
    """Return options of a session that runs a model: its integer products are those of every other processor.

    Where products would saturate, ONNX Runtime is told to store constant signed weights unsigned, which is exact. Not
    elsewhere: its kernels for VNNI take more than twice as long with unsigned weights. It does so as it optimizes a
    graph, so at the default level of optimization alone, and not for a model in its own format.

    Parameters
    ----------
    threads
        Threads to compute with; as many as there are cores where it is `None`.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    if saturates():
        options.add_session_config_entry(_EXACT_INTEGERS, "1")
    return options


def unoptimized_options() -> ort.SessionOptions:
    """Return options of a session that runs every node of a model as it is written, on one thread.

    Products of integers are exact only where their weights are unsigned.
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return options


def write_options(path: Path, level: ort.GraphOptimizationLevel) -> ort.SessionOptions:
    """Return options of a session that writes its optimized graph, which must not depend on this processor.

    Parameters
    ----------
    path
        Where the graph goes.
    level
        ``ORT_ENABLE_EXTENDED`` at most: beyond it ONNX Runtime lays memory out for this processor.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(path)
    return options


def open_session(model: bytes | Path, options: ort.SessionOptions | None = None) -> ort.InferenceSession:
    """Open a model on the CPU; with :func:`run_options` where no others are given.

    Notes
    -----
    ONNX Runtime's exceptions, which share no base class, come through as they are.
    """
    return ort.InferenceSession(model, options or run_options(), providers=_PROVIDERS)


class OnnxRuntimeBackend:
    """Runs `.onnx` artifacts."""

    def missing(self) -> str | None:
        """Return `None`: the runtime depends on onnxruntime."""
        return None

    def open(self, artifact: Path, spec: ComponentSpec, threads: int) -> Session:
        """Open a model and compare its inputs and outputs with the spec.

        Parameters
        ----------
        artifact
            A model in ONNX or ORT format.
        spec
            What its inputs and outputs must be.
        threads
            Threads within an operator, ≥ 1.

        Raises
        ------
        BackendError
            If the file is not a model that runs here, or does not keep the spec.
        NotExactHereError
            If its integers would come out wrong on this processor.
        """
        session = _open(artifact, threads)
        _SESSIONS[_key(artifact, threads)] = session
        _check_contract(artifact, session, spec)
        return _OnnxRuntimeSession(session, spec)

    def open_function(self, artifact: Path, spec: ComponentSpec, threads: int, function: str) -> Session:
        """Open a further function: the same graph, whose free axes take its shapes; the rest as in :meth:`open`.

        Where the artifact is open already, its session is shared: another would hold the weights a second time.

        Parameters
        ----------
        artifact
            An ONNX model.
        spec
            Contract of the function.
        threads
            Threads of the session.
        function
            Name of the function.
        """
        del function
        session = _SESSIONS.get(_key(artifact, threads))
        if session is None:
            return self.open(artifact, spec, threads)
        _check_contract(artifact, session, spec)
        return _OnnxRuntimeSession(session, spec)


def _key(artifact: Path, threads: int) -> _Key:
    stat = artifact.stat()
    return artifact.resolve(), stat.st_mtime_ns, stat.st_size, threads


def _open(artifact: Path, threads: int) -> ort.InferenceSession:
    if artifact.suffix == ORT_SUFFIX and saturates() and _has_signed_products(artifact.read_bytes()):
        raise NotExactHereError(
            f"{artifact}: in ORT format its 8-bit products would saturate on this processor and come out wrong. "
            "Run the .onnx that it was made of, or it on a phone or with VNNI; `pocketcrafter doctor` tells more."
        )
    options = run_options(threads)
    options.add_session_config_entry(_WEIGHTS_FOLDER, str(artifact.parent.resolve()))
    try:
        # By its path: a model that Python holds too is in memory twice.
        with _blocks_of_their_own(), in_large_pages(artifact.stat().st_size):
            return open_session(artifact, options)
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise BackendError(f"{artifact}: ONNX Runtime cannot open it: {error}") from error


@contextmanager
def _blocks_of_their_own() -> Iterator[None]:
    """Have glibc return to the system, inside the context, what is freed of 128 KiB and more.

    It raises this limit up to 32 MiB as such blocks are freed. A session holds most weights twice while it opens, as
    stored and as its kernels read them, and what it frees would lie between what it keeps, of no use to anybody:
    100 MiB of a language model of 135 MB. Afterwards the limit is 32 MiB, for pictures and activations come and go.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        yield
        return
    mallopt(_MMAP_THRESHOLD, 128 << 10)
    try:
        yield
    finally:
        mallopt(_MMAP_THRESHOLD, 32 << 20)


def _has_signed_products(model: bytes) -> bool:
    return any(name.encode() in model for name in SIGNED_WEIGHTS)


def _check_contract(artifact: Path, session: ort.InferenceSession, spec: ComponentSpec) -> None:
    """Raise `BackendError` where a model's tensors are not a function's; an axis with a name takes every size."""
    for kind, has, wants in (
        ("inputs", session.get_inputs(), spec.inputs),
        ("outputs", session.get_outputs(), spec.outputs),
    ):
        found = whole_shapes({t.name: tuple(t.shape) for t in has})
        wanted = {t.name: t.shape for t in wants}
        if found.keys() != wanted.keys() or not all(_fits(found[name], wanted[name]) for name in wanted):
            raise BackendError(f"{artifact}: its {kind} are {found}; the contract of `{spec.name}` is {wanted}.")


def _fits(shape: tuple[int | str, ...], wanted: tuple[int, ...]) -> bool:
    return len(shape) == len(wanted) and all(a == b or isinstance(a, str) for a, b in zip(shape, wanted, strict=True))


class _OnnxRuntimeSession:
    def __init__(self, session: ort.InferenceSession, spec: ComponentSpec) -> None:
        self._session = session
        self._spec = spec
        self._in_place = CachesInPlace(session, spec) if has_parts(session) else None

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        feeds = checked_inputs(inputs, self._spec)
        try:
            if self._in_place is not None:
                return self._in_place.run(feeds)
            values = self._session.run([t.name for t in self._spec.outputs], feeds)
        except Exception as error:  # as above
            raise BackendError(f"ONNX Runtime failed in `{self._spec.name}`: {error}") from error
        return named_outputs(values, self._spec)
