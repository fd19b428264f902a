"""ONNX models for ONNX Runtime: the desktop, the server, ORT mobile."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import onnx
import onnxruntime as ort
import torch
from torch import Tensor, nn

from pocketcrafter.export.lower.base import (
    EAGER,
    LoweredArtifact,
    Progress,
    Sample,
    Simulation,
    as_tensors,
    check_precision,
    frozen,
    hold_back,
    measured,
    run_artifact,
    run_torch,
)
from pocketcrafter.export.lower.onnx.coverage import onnx_coverage
from pocketcrafter.export.lower.onnx.fusions import fused
from pocketcrafter.export.lower.onnx.scales import scales_in_convolutions
from pocketcrafter.export.lower.onnx.shuffles import shuffled_whole
from pocketcrafter.export.precisions import WEIGHT_BITS
from pocketcrafter.quantize.algorithms.blocks import Blocks
from pocketcrafter.quantize.algorithms.rounding import NEAREST, Guidance, blocks_of
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
from pocketcrafter.runtime.targets import ONNX

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


@dataclass(frozen=True)
class OnnxLowering:
    """Lowers to ``onnx``.

    Attributes
    ----------
    guidance
        How weights are rounded.
    for_cpu
        Whether ONNX Runtime's kernels are to run what comes out; a compiler for another processor wants INT8 as it is.
    """

    guidance: Guidance = NEAREST
    for_cpu: bool = True

    def guided(self, guidance: Guidance) -> "OnnxLowering":
        """Return the lowering that rounds weights by a guidance; see `pocketcrafter.export.lower.base.Guided`."""
        return replace(self, guidance=guidance)

    def lower(
        self,
        model: nn.Module,
        spec: ComponentSpec,
        calibration: Sequence[Sample],
        precision: Precision,
        out: Path,
        *,
        keep_fp32: tuple[str, ...] = (),
        progress: Progress | None = None,
    ) -> LoweredArtifact:
        """Export, quantize to QDQ, run; see :meth:`pocketcrafter.export.lower.base.Lowering.lower`.

        ONNX Runtime, not torch, is what simulates here: without graph optimization it runs each QDQ pair as it is
        written and everything between in float32. With optimization the same pairs run on INT8 kernels: rung 2. A
        condition's factors are simulated as products of their own, whose roundings the artifact, where convolutions
        take them, does not have. Of 16-bit activations ONNX Runtime has no kernels: such a file is what QNN compiles,
        run in float32 between its pairs.
        """
        check_precision(ONNX, precision)
        used, held = hold_back(calibration, spec)
        eager = frozen(model, keep_fp32)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
            exported = Path(folder) / "fp32.onnx"
            export_onnx(eager, as_tensors(used[0], spec), spec, exported)
            rounded = None
            if precision in WEIGHT_BITS:
                rounded = blocks_of(eager, WEIGHT_BITS[precision], self.guidance, keep_fp32, brief=True)
            source = _Source(exported, run_torch(eager, held, spec), EAGER, self.for_cpu, keep_fp32, rounded)
            return _lowered(source, spec, used, held, precision, out, progress)

    def lower_graph(
        self,
        graph: onnx.ModelProto,
        spec: ComponentSpec,
        calibration: Sequence[Sample],
        precision: Precision,
        out: Path,
    ) -> LoweredArtifact:
        """Lower what another exporter wrote; full precision is that graph, weights are rounded to the nearest.

        Parameters
        ----------
        graph
            In float32, with static shapes and the spec's names; left as it is.
        spec, calibration, precision, out
            As in :meth:`lower`.
        """
        check_precision(ONNX, precision)
        used, held = hold_back(calibration, spec)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
            exported = Path(folder) / "fp32.onnx"
            onnx.save(graph, exported)
            source = _Source(exported, simulate(exported, held, spec), _EXPORTED, self.for_cpu)
            return _lowered(source, spec, used, held, precision, out)


@dataclass(frozen=True)
class _Source:
    """A float32 graph, what full precision says of the samples held back, and what that is, in words."""

    graph: Path
    reference: Sequence[Mapping[str, FloatArray]]
    how: str
    for_cpu: bool
    keep_fp32: tuple[str, ...] = ()
    rounded: Mapping[str, Blocks] | None = None
    """Weights that were rounded already, by module."""


def _lowered(
    source: _Source,
    spec: ComponentSpec,
    used: Sequence[Sample],
    held: Sequence[Sample],
    precision: Precision,
    out: Path,
    progress: Progress | None = None,
) -> LoweredArtifact:
    folder, keep_fp32 = source.graph.parent, source.keep_fp32
    made = folder / "made.onnx"
    simulation = None
    if precision in STATIC:
        shaped = source.for_cpu and precision is Precision.INT8
        graph = folder / "shuffled.onnx" if shaped else source.graph
        if shaped:
            onnx.save(shuffled_whole(onnx.load(source.graph)), graph)
        quantize_static(precision, graph, used, made, keep_fp32=keep_fp32, progress=progress)
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
