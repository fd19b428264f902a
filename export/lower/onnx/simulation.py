"""Runs fake-quantized ONNX models: what the kernels of an artifact are compared with."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import onnx

from pocketcrafter.export.lower.request import Sample
from pocketcrafter.quantize.onnx.storage import store_unsigned
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import checked_inputs, named_outputs
from pocketcrafter.runtime.backends.onnx_caches import CachesInPlace, has_parts
from pocketcrafter.runtime.backends.onnxruntime import open_session, unoptimized_options
from pocketcrafter.runtime.components import ComponentSpec

SIMULATED: Final = "the QDQ graph in float32 (ONNX Runtime without graph optimization)"
"""What :func:`simulate` does, in words."""
DECODED: Final = "the graph in float32 with its weights read back and its activations rounded as its kernels round them"
"""What `pocketcrafter.quantize.onnx.matmul_nbits.decoded` makes, in words."""

UNFUSED: Final = "the same graph without ONNX Runtime's graph optimization"
"""What :func:`simulate` does where activations are rounded at run time, in words."""


def simulate(path: Path, samples: Sequence[Sample], spec: ComponentSpec) -> list[dict[str, FloatArray]]:
    """Run a fake-quantized model as it is written: each rounding rounds, and everything between is float32.

    Products that it has in integers are exact on every processor: their weights are stored unsigned, as without graph
    optimization ONNX Runtime does not do so itself where signed ones would saturate.

    Parameters
    ----------
    path
        The model: with QDQ pairs, or as `pocketcrafter.quantize.onnx.matmul_nbits.decoded` makes it.
    samples
        Inputs by name.
    spec
        The component's contract.
    """
    session = open_session(_stored(path), unoptimized_options())
    if has_parts(session):
        # New rows are written into the caches that are handed in: copies of the samples'.
        in_place = CachesInPlace(session, spec)
        return [in_place.run(copy.deepcopy(checked_inputs(sample, spec))) for sample in samples]
    names = [t.name for t in spec.outputs]
    return [named_outputs(session.run(names, checked_inputs(sample, spec)), spec) for sample in samples]


def _stored(path: Path) -> bytes | Path:
    model = onnx.load(path, load_external_data=False)
    return model.SerializeToString() if store_unsigned(model) else path
