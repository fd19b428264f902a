"""A language model whose layers each read and write their caches in place, behind the contract of whole caches.

The contract hands in the caches of all layers and takes out what new positions add to them. The graph has an input and
an output for each layer's cache, ``keys.0`` and ``new_keys.0``, and both are bound to the layer's part of the caller's
array: ONNX Runtime then writes new rows behind those that were read, and copies nothing.
"""

import re
import weakref
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.language import MASKED

CACHES: Final = {"keys": "new_keys", "values": "new_values"}
"""Inputs of a language model that are caches, and the outputs that are added to each."""
_PART: Final = re.compile(r"(?P<whole>[a-z_]+)\.(?P<layer>\d+)")
_AT_LEAST: Final = re.compile(r"(\d+) or more")
_Shape = tuple[int | str, ...]


def part(name: str, layer: int) -> str:
    """Return how a graph calls one layer's part of a tensor."""
    return f"{name}.{layer}"


def at_least(length: int) -> str:
    """Return how a graph calls the axis of positions that its caches hold; they may be handed in longer."""
    return f"{length} or more"


def whole_shapes(shapes: Mapping[str, _Shape]) -> dict[str, _Shape]:
    """Return the shapes of a graph's tensors, the parts of each layer counted along the first axis of one tensor."""
    whole: dict[str, _Shape] = {}
    for name, shape in shapes.items():
        if (found := _PART.fullmatch(name)) is None:
            whole[name] = shape
            continue
        held = [_AT_LEAST.fullmatch(str(size)) for size in shape[1:]]
        sizes = (int(least[1]) if least else size for least, size in zip(held, shape[1:], strict=True))
        whole[found["whole"]] = (int(found["layer"]) + 1, *sizes)
    return whole


def has_parts(session: Any) -> bool:  # noqa: ANN401 - onnxruntime is untyped
    """Whether a graph reads and writes its caches layer by layer."""
    return any(_PART.fullmatch(tensor.name) for tensor in session.get_inputs())


def in_parts(feeds: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Return inputs with each layer's caches as one of their own, for a graph that is to share no memory."""
    parts = {part(name, n): rows for name in CACHES for n, rows in enumerate(feeds[name][:, None])}
    return {name: array for name, array in feeds.items() if name not in CACHES} | parts


class CachesInPlace:
    """Runs such a graph; not to be called from two threads at once.

    Parameters
    ----------
    session
        Of a graph with parts.
    spec
        The contract of one function.
    """

    def __init__(self, session: Any, spec: ComponentSpec) -> None:  # noqa: ANN401 - likewise
        self._session = session
        inputs = {t.name: t.shape for t in spec.inputs}
        self._count, self._length = inputs["embeddings"][0], inputs["keys"][2]
        self._outputs = {t.name: t.shape for t in spec.outputs if t.name not in CACHES.values()}
        self._binding: Any = None
        self._bound: tuple[weakref.ref[FloatArray], ...] = ()

    def run(self, feeds: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Run once.

        Parameters
        ----------
        feeds
            As the contract says, checked. Rows of the caches beyond those that were read are overwritten, where they
            have room for all positions of the function; copies of the caches are, otherwise.

        Notes
        -----
        ONNX Runtime's exceptions come through as they are.
        """
        read = int((feeds["mask"][0, : self._length] > MASKED / 2).sum())
        caches = {name: self._with_room(feeds[name], read) for name in CACHES}
        binding = self._bind(caches)
        # Referred to until the run has ended: what is bound is a place in memory.
        others = {name: array for name, array in feeds.items() if name not in CACHES}
        made = {
            name: np.empty(shape, np.float32) for name, shape in self._outputs.items() if name not in CACHES.values()
        }
        for name, array in others.items():
            binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        for name, array in made.items():
            binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        self._session.run_with_iobinding(binding)
        rows = slice(read, read + self._count)
        return {**made, **{new: caches[name][:, :, rows].copy() for name, new in CACHES.items()}}

    def _with_room(self, cache: FloatArray, read: int) -> FloatArray:
        """Return caches that all positions of the function have room in behind those that were read."""
        if read + self._count <= cache.shape[2] and cache.flags.writeable:
            return cache
        layers, heads, _, width = cache.shape
        longer = np.empty((layers, heads, read + self._count, width), np.float32)
        longer[:, :, :read] = cache[:, :, :read]
        return longer

    def _bind(self, caches: Mapping[str, FloatArray]) -> Any:  # noqa: ANN401 - likewise
        """Return what caches are bound to; as long as they stay the same arrays, they stay bound."""
        if not self._bound or any(
            held() is not cache for held, cache in zip(self._bound, caches.values(), strict=True)
        ):
            self._binding = self._session.io_binding()
            for name, cache in caches.items():
                for layer, rows in enumerate(cache[:, None]):
                    place = ("cpu", 0, np.float32, rows.shape, rows.ctypes.data)
                    self._binding.bind_input(part(name, layer), *place)
                    self._binding.bind_output(part(CACHES[name], layer), *place)
            self._bound = tuple(weakref.ref(cache) for cache in caches.values())
        return self._binding
