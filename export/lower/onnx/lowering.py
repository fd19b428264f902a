"""ONNX models for ONNX Runtime: the desktop, the server, ORT mobile."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx
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
from pocketcrafter.export.lower.onnx.coverage import onnx_coverage, optimized_graph
from pocketcrafter.export.lower.onnx.functions import lower_functions
from pocketcrafter.export.lower.onnx.passes import fused, scales_in_convolutions, shuffled_whole
from pocketcrafter.export.lower.onnx.simulation import DECODED, SIMULATED, UNFUSED, simulate
from pocketcrafter.export.lower.programs import frozen
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest, Sample
from pocketcrafter.quantize.api import quantize
from pocketcrafter.quantize.calibration import Calibration
from pocketcrafter.quantize.config import DynamicInt8, StaticInt8, StaticInt16, WeightOnly
from pocketcrafter.quantize.modules import check_modules
from pocketcrafter.quantize.onnx.graph import strip_metadata
from pocketcrafter.quantize.onnx.matmul_nbits import decoded, quantize_matmul_nbits
from pocketcrafter.quantize.onnx.storage import with_float16_storage
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.onnxruntime import OnnxRuntimeBackend
from pocketcrafter.runtime.components import ComponentSpec, Role
from pocketcrafter.runtime.files import move
from pocketcrafter.runtime.targets import ONNX, TargetKind

_OPSET: Final = 20

_SELECTORS: Final[Mapping[Role, str]] = {Role.LANGUAGE: "position"}
"""Inputs that are one-hot by contract and say which position a step is of."""

_EXPORTED: Final = "the exported graph in float32 (ONNX Runtime without graph optimization)"
_ARTIFACT_HOW: Final = "The .onnx in ONNX Runtime on this machine's CPU"


def lower_onnx(request: LoweringRequest) -> dict[TargetKind, LoweredArtifact]:
    """Export, quantize to QDQ, run; for ``onnx``.

    ONNX Runtime, not torch, is what simulates here: without graph optimization it runs each QDQ pair as it is written
    and everything between in float32. With optimization the same pairs run on INT8 kernels: rung 2. A condition's
    factors are simulated as products of their own, whose roundings the artifact, where convolutions take them, does not
    have. Of 16-bit activations ONNX Runtime has no kernels: such a file is what QNN compiles, run in float32 between
    its pairs. Of a graph that another exporter wrote, full precision is that graph.
    """
    target, out = request.only
    if request.spec.functions:
        return {target: lower_functions(request)}
    used, held = hold_back(request.calibration, request.spec)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        source = _source(request, used, held, Path(folder) / "fp32.onnx")
        return {target: _lowered(source, request, used, held, out)}


def _source(request: LoweringRequest, used: Sequence[Sample], held: Sequence[Sample], path: Path) -> "_Source":
    spec = request.spec
    if isinstance(request.network, onnx.ModelProto):
        onnx.save(request.network, path)
        return _Source(path, simulate(path, held, spec), _EXPORTED)
    eager = frozen(request.module(), request.keep_fp32)
    export_onnx(eager, as_tensors(used[0], spec), spec, path, apart=True)
    check_modules(eager, tuple(request.weight_bits), "weight_bits")
    return _Source(path, run_torch(eager, held, spec), EAGER)


@dataclass(frozen=True)
class _Source:
    """A float32 graph, what full precision says of the samples held back, and what that is, in words."""

    graph: Path
    reference: Sequence[Mapping[str, FloatArray]]
    how: str


def _lowered(
    source: _Source, request: LoweringRequest, used: Sequence[Sample], held: Sequence[Sample], out: Path
) -> LoweredArtifact:
    spec, scheme = request.spec, request.scheme(ONNX)
    folder, made, simulation = source.graph.parent, source.graph.with_name("made.onnx"), None
    # Large weights are read from the exporter's file when they are needed, one after another.
    exported = onnx.load(source.graph, load_external_data=spec.role in _SELECTORS)
    if isinstance(scheme, (StaticInt8, StaticInt16, DynamicInt8)):
        graph = onnx.load(source.graph)
        for_kernels = isinstance(scheme, StaticInt8) and not request.to_compile
        if for_kernels:
            graph = shuffled_whole(graph)
        graph = quantize(graph, scheme, Calibration(used), request.progress)
        onnx.save(graph, made)
        how = UNFUSED if isinstance(scheme, DynamicInt8) else SIMULATED
        simulation = Simulation(simulate(made, held, spec), how)
        if for_kernels:
            onnx.save(scales_in_convolutions(graph), made)
    else:
        graph = onnx.ModelProto()
        graph.CopyFrom(exported)
        if isinstance(scheme, WeightOnly):
            graph = quantize_matmul_nbits(exported, scheme, request.hessians, folder)
            onnx.save(decoded(graph), folder / "decoded.onnx")
            simulation = Simulation(simulate(folder / "decoded.onnx", held, spec), DECODED)
        if spec.role in _SELECTORS:
            graph = fused(graph, _SELECTORS[spec.role])
        strip_metadata(graph)
        onnx.save(with_float16_storage(graph, folder), made)
        del graph
    # Beside 16-bit activations all layers are to run in float32, as in the exported model.
    ran = exported if isinstance(scheme, StaticInt16) else optimized_graph(made, folder)
    coverage = onnx_coverage(exported, ran)
    actual = run_artifact(OnnxRuntimeBackend(), made, held, spec)
    result = measured(out, coverage, spec, held, source.reference, simulation, actual, _ARTIFACT_HOW, source.how)
    move(made, out)
    return result


def export_onnx(
    model: nn.Module, inputs: tuple[Tensor, ...], spec: ComponentSpec, path: Path, *, apart: bool = False
) -> None:
    """Write a model as float32 ONNX, with the spec's names and the exporter's metadata.

    Parameters
    ----------
    model
        In evaluation mode.
    inputs
        Example inputs, in calling order.
    spec
        The component's contract.
    path
        Where the model is written.
    apart
        Whether its weights go into a file beside it.

    Raises
    ------
    TypeError
        If the exporter returns no program.
    """
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
    program.save(path, external_data=apart)
