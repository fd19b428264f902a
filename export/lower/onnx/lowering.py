"""ONNX models for ONNX Runtime: the desktop, the server, ORT mobile."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx
import onnxruntime as ort
import torch
from torch import Tensor, nn

from pocketcrafter.export.lower.measure import (
    EAGER,
    Simulation,
    as_tensors,
    hold_back,
    measured,
    run_artifact,
    run_torch,
)
from pocketcrafter.export.lower.onnx.coverage import onnx_coverage
from pocketcrafter.export.lower.onnx.fusions import fused
from pocketcrafter.export.lower.onnx.scales import scales_in_convolutions
from pocketcrafter.export.lower.onnx.shuffles import shuffled_whole
from pocketcrafter.export.lower.programs import frozen
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest, Progress, Sample
from pocketcrafter.export.precisions import WEIGHT_BITS
from pocketcrafter.quantize.algorithms.blocks import Blocks
from pocketcrafter.quantize.algorithms.rounding import blocks_of
from pocketcrafter.quantize.onnx.dynamic import quantize_onnx_dynamic
from pocketcrafter.quantize.onnx.float16_storage import stored_in_halves
from pocketcrafter.quantize.onnx.graph import strip_metadata
from pocketcrafter.quantize.onnx.matmul_nbits import decoded, quantize_linears
from pocketcrafter.quantize.onnx.qdq import quantize_onnx
from pocketcrafter.quantize.onnx.qdq_int16 import quantize_sixteen
from pocketcrafter.quantize.onnx.unsigned_weights import store_unsigned
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.onnxruntime import OnnxRuntimeBackend
from pocketcrafter.runtime.backends.ort_sessions import open_session, unoptimized_options, write_options
from pocketcrafter.runtime.backends.tensors import checked_inputs, named_outputs
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import ComponentSpec, Role
from pocketcrafter.runtime.files import move
from pocketcrafter.runtime.targets import TargetKind

_OPSET: Final = 20
SIMULATED: Final = "the QDQ graph in float32 (ONNX Runtime without graph optimization)"
"""What :func:`simulate` does, in words."""

_SIXTEEN_BITS: Final[Mapping[Precision, int]] = {Precision.A16W8: 8, Precision.A16W4: 4}
STATIC: Final = frozenset({Precision.INT8, *_SIXTEEN_BITS})
"""Precisions whose activation ranges are fixed before the network runs."""

_SELECTORS: Final[Mapping[Role, str]] = {Role.LANGUAGE: "position"}
"""Inputs that are one-hot by contract and say which position a step is of."""

_UNFUSED: Final = "the same graph without ONNX Runtime's graph optimization"
_DECODED: Final = "the graph with its weights read back into float32"
_EXPORTED: Final = "the exported graph in float32 (ONNX Runtime without graph optimization)"
_ARTIFACT_HOW: Final = "The .onnx in ONNX Runtime on this machine's CPU"


def lower_onnx(request: LoweringRequest) -> dict[TargetKind, LoweredArtifact]:
    """Export, quantize to QDQ, run; for ``onnx``.

    ONNX Runtime, not torch, is what simulates here: without graph optimization it runs each QDQ pair as it is written
    and everything between in float32. With optimization the same pairs run on INT8 kernels: rung 2. A condition's
    factors are simulated as products of their own, whose roundings the artifact, where convolutions take them, does not
    have. Of 16-bit activations ONNX Runtime has no kernels: such a file is what QNN compiles, run in float32 between
    its pairs. Of a graph that another exporter wrote, full precision is that graph, and weights are rounded to the
    nearest.
    """
    target, out = request.only
    used, held = hold_back(request.calibration, request.spec)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        source = _source(request, used, held, Path(folder) / "fp32.onnx")
        return {target: _lowered(source, request, used, held, out)}


def _source(request: LoweringRequest, used: Sequence[Sample], held: Sequence[Sample], path: Path) -> "_Source":
    spec, precision = request.spec, request.precision
    if isinstance(request.network, onnx.ModelProto):
        onnx.save(request.network, path)
        return _Source(path, simulate(path, held, spec), _EXPORTED)
    eager = frozen(request.module(), request.keep_fp32)
    export_onnx(eager, as_tensors(used[0], spec), spec, path)
    rounded = None
    if precision in WEIGHT_BITS:
        rounded = blocks_of(eager, WEIGHT_BITS[precision], request.guidance, request.keep_fp32, brief=True)
    return _Source(path, run_torch(eager, held, spec), EAGER, rounded)


@dataclass(frozen=True)
class _Source:
    """A float32 graph, what full precision says of the samples held back, and what that is, in words."""

    graph: Path
    reference: Sequence[Mapping[str, FloatArray]]
    how: str
    rounded: Mapping[str, Blocks] | None = None
    """Weights that were rounded already, by module."""


def _lowered(
    source: _Source, request: LoweringRequest, used: Sequence[Sample], held: Sequence[Sample], out: Path
) -> LoweredArtifact:
    spec, precision, keep_fp32 = request.spec, request.precision, request.keep_fp32
    folder = source.graph.parent
    made = folder / "made.onnx"
    simulation = None
    if precision in STATIC:
        shaped = precision is Precision.INT8 and not request.to_compile
        graph = folder / "shuffled.onnx" if shaped else source.graph
        if shaped:
            onnx.save(shuffled_whole(onnx.load(source.graph)), graph)
        quantize_static(precision, graph, used, made, keep_fp32=keep_fp32, progress=request.progress)
        simulation = Simulation(simulate(made, held, spec), SIMULATED)
        if shaped:
            onnx.save(scales_in_convolutions(onnx.load(made)), made)
    elif precision is Precision.W8A8_DYNAMIC:
        quantize_onnx_dynamic(source.graph, made, keep_fp32=keep_fp32)
        simulation = Simulation(simulate(made, held, spec), _UNFUSED)
    else:
        bare = onnx.load(source.graph)
        if precision in WEIGHT_BITS:
            bare = quantize_linears(bare, WEIGHT_BITS[precision], keep_fp32, source.rounded)
            onnx.save(decoded(bare), folder / "decoded.onnx")
            simulation = Simulation(simulate(folder / "decoded.onnx", held, spec), _DECODED)
        if spec.role in _SELECTORS:
            bare = fused(bare, _SELECTORS[spec.role])
        strip_metadata(bare)
        onnx.save(stored_in_halves(bare), made)
    # Beside 16-bit activations all layers are to run in float32, as in the exported model.
    ran = source.graph if precision in _SIXTEEN_BITS else _optimized(made, folder)
    coverage = onnx_coverage(onnx.load(source.graph), onnx.load(ran))
    actual = run_artifact(OnnxRuntimeBackend(), made, held, spec)
    result = measured(out, coverage, spec, source.reference, simulation, actual, _ARTIFACT_HOW, source.how)
    move(made, out)
    return result


def quantize_static(
    precision: Precision,
    fp32_onnx: Path,
    calibration: Sequence[Sample],
    out: Path,
    *,
    keep_fp32: tuple[str, ...] = (),
    progress: Progress | None = None,
) -> None:
    """Quantize weights and activations of a model to one of `STATIC`, as ONNX Runtime and QNN both read it."""
    if precision is Precision.INT8:
        quantize_onnx(fp32_onnx, calibration, out, keep_fp32=keep_fp32, progress=progress)
    else:
        quantize_sixteen(
            fp32_onnx, calibration, out, bits=_SIXTEEN_BITS[precision], keep_fp32=keep_fp32, progress=progress
        )


def export_onnx(model: nn.Module, inputs: tuple[Tensor, ...], spec: ComponentSpec, path: Path) -> None:
    """Write a model as float32 ONNX, with the spec's names and the exporter's metadata."""
    with torch.no_grad():
        program = torch.onnx.export(
            model,
            inputs,
            dynamo=True,
            opset_version=_OPSET,
            input_names=[t.name for t in spec.inputs],
            output_names=[t.name for t in spec.outputs],
            verbose=False,
        )
    if program is None:
        raise TypeError("torch.onnx.export returned no program")
    program.save(path, external_data=False)


def simulate(path: Path, samples: Sequence[Sample], spec: ComponentSpec) -> list[dict[str, FloatArray]]:
    """Run a QDQ model as it is written: each pair rounds, and everything between is float32.

    Products that it has in integers are exact on every processor: their weights are stored unsigned, as without graph
    optimization ONNX Runtime does not do so itself where signed ones would saturate.
    """
    model = onnx.load(path)
    stored = model.SerializeToString() if store_unsigned(model) else path
    session = open_session(stored, unoptimized_options())
    names = [t.name for t in spec.outputs]
    return [named_outputs(session.run(names, checked_inputs(sample, spec)), spec) for sample in samples]


def _optimized(path: Path, folder: Path) -> Path:
    """Write the graph that ONNX Runtime makes of a model, before it lays memory out for this machine's CPU."""
    made = folder / "optimized.onnx"
    open_session(path, write_options(made, ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED))
    return made
