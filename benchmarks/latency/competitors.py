"""What a person would run instead of a bundle: the same weights by other engines, in full precision and in INT8."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnx
from torch import nn

from pocketcrafter.benchmarks.common.names import CompetitorName
from pocketcrafter.benchmarks.latency.engines import EngineName, OpenVino
from pocketcrafter.export.families.family import WEIGHTS, network_source
from pocketcrafter.export.families.pocket.plan import PHOTOS, VOCABULARY
from pocketcrafter.export.families.registry import family_of, student_network, student_part
from pocketcrafter.export.lower.litert.convert import apply_recipe, convert
from pocketcrafter.export.lower.measure import as_tensors
from pocketcrafter.export.lower.onnx.lowering import export_onnx
from pocketcrafter.export.lower.programs import frozen
from pocketcrafter.export.shipped import CALIBRATION_PHOTOS
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.bundle.goldens import read_tensors
from pocketcrafter.runtime.bundle.manifest import ComponentEntry
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.pocket import TOKENIZER

_SAMPLES: Final = 16
_SEED: Final = 20
_STATIC_INT8: Final = "static_wi8_ai8"
"""AI Edge Quantizer's recipe of INT8 weights and activations."""


@dataclass(frozen=True)
class Contender:
    """A competitor made ready: what runs it, the file that it opens, and the numbers that it computes with."""

    backend: BackendName | EngineName
    artifact: Path
    precision: Precision = Precision.FP32


@dataclass(frozen=True)
class Contest:
    """What competitors are made from: a component of a bundle, its weights, and a folder to write into."""

    bundle: Bundle
    entry: ComponentEntry
    weights: Path
    others: Mapping[str, Path]
    """Weights of the bundle's other components by name: some families draw inputs with them."""
    folder: Path

    @property
    def component(self) -> str:
        """The component's name."""
        return self.entry.spec.name

    def network(self) -> nn.Module:
        """Load the component in full precision."""
        return student_network(self.bundle.manifest.family, self.component, self.weights)

    def golden(self) -> Mapping[str, FloatArray]:
        """Return the inputs of the component's first golden."""
        return read_tensors(self.bundle.file(self.entry.goldens[0].inputs), self.entry.spec.inputs)

    def samples(self) -> Sequence[Mapping[str, FloatArray]]:
        """Draw inputs as the component's family does, from the photos that this package ships for calibration."""
        family = self.bundle.manifest.family
        inputs = {WEIGHTS: self.weights, PHOTOS: CALIBRATION_PHOTOS, **self.others}
        if TOKENIZER in {file.path for file in self.bundle.manifest.files}:
            inputs[VOCABULARY] = self.bundle.file(TOKENIZER)
        part = student_part(family, self.component, self.weights)
        return network_source(family_of(family).networks).draw(part, inputs, _SAMPLES, _SEED).samples


Prepare = Callable[[Contest], Contender]
"""Makes a competitor ready."""


def _torch_eager(contest: Contest) -> Contender:
    return Contender(BackendName.TORCH, contest.weights)


def _torch_compile(contest: Contest) -> Contender:
    return Contender(EngineName.TORCH_COMPILE, contest.weights)


def _onnxruntime(contest: Contest) -> Contender:
    return Contender(BackendName.ONNXRUNTIME, _exported(contest))


def _onnxruntime_dynamic(contest: Contest) -> Contender:
    """Quantize as optimum does where nothing is calibrated: INT8 weights, activations as they come."""
    from optimum.onnxruntime import ORTQuantizer  # noqa: PLC0415 - slow, and only this needs it
    from optimum.onnxruntime.configuration import AutoQuantizationConfig  # noqa: PLC0415

    made = contest.folder / f"dynamic-{contest.component}"
    made.mkdir()
    model = onnx.load(_exported(contest))
    # The quantizer transposes weights, and then stumbles over the shapes that the exporter noted.
    model.graph.ClearField("value_info")
    onnx.save(model, made / "plain.onnx")
    try:
        ORTQuantizer(made / "plain.onnx").quantize(
            save_dir=made, quantization_config=AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True)
        )
        (artifact,) = made.glob("*_quantized.onnx")
    except Exception as error:  # its exceptions and onnx's share no base class
        raise BackendError(f"optimum-onnx cannot quantize `{contest.component}`: {error}") from error
    return Contender(BackendName.ONNXRUNTIME, artifact, Precision.W8A8_DYNAMIC)


def _openvino(contest: Contest) -> Contender:
    """Quantize as NNCF does for OpenVINO: INT8 weights and activations, calibrated on the shipped photos."""
    if reason := OpenVino().missing():
        raise BackendError(reason)
    import nncf  # noqa: PLC0415 - slow, and only this needs it
    import openvino  # noqa: PLC0415

    exported, component = _exported(contest), contest.component
    drawn: list[Any] = list(contest.samples())
    artifact = contest.folder / f"{component}.xml"
    try:
        with redirect_stdout(sys.stderr):  # NNCF draws its progress there; standard output is for the result
            model = nncf.quantize(openvino.Core().read_model(exported), nncf.Dataset(drawn), subset_size=_SAMPLES)
        openvino.save_model(model, artifact, compress_to_fp16=False)
    except Exception as error:  # NNCF's and OpenVINO's exceptions share no base class
        raise BackendError(f"NNCF cannot quantize `{component}` for OpenVINO: {error}") from error
    return Contender(EngineName.OPENVINO, artifact, Precision.INT8)


def _litert(contest: Contest) -> Contender:
    return Contender(BackendName.LITERT, _converted(contest))


def _litert_int8(contest: Contest) -> Contender:
    """Quantize as Google's AI Edge Quantizer does: INT8 weights and activations, calibrated on the shipped photos."""
    converted = _converted(contest)
    artifact = converted.with_suffix(".int8.tflite")
    apply_recipe(converted, _STATIC_INT8, contest.entry.spec, artifact, contest.samples())
    return Contender(BackendName.LITERT, artifact, Precision.INT8)


def _converted(contest: Contest) -> Path:
    """Return a component as float32 LiteRT, converted once a folder."""
    artifact = contest.folder / f"{contest.component}.tflite"
    if not artifact.exists():
        spec, network = contest.entry.spec, contest.network().requires_grad_(False)
        convert(network, as_tensors(contest.golden(), spec), spec, artifact)
    return artifact


def _exported(contest: Contest) -> Path:
    """Return a component as float32 ONNX, exported once a folder, without what our own lowering then makes of it."""
    artifact, spec = contest.folder / f"{contest.component}.onnx", contest.entry.spec
    if not artifact.exists():
        export_onnx(frozen(contest.network(), ()), as_tensors(contest.golden(), spec), spec, artifact)
    return artifact


COMPETITORS: Final[Mapping[CompetitorName, Prepare]] = {
    CompetitorName.TORCH_EAGER: _torch_eager,
    CompetitorName.TORCH_COMPILE: _torch_compile,
    CompetitorName.ONNXRUNTIME: _onnxruntime,
    CompetitorName.ONNXRUNTIME_DYNAMIC: _onnxruntime_dynamic,
    CompetitorName.OPENVINO: _openvino,
    CompetitorName.LITERT: _litert,
    CompetitorName.LITERT_INT8: _litert_int8,
}
