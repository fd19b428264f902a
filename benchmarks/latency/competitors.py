"""What a person would run instead of a bundle: the same weights by other engines, in full precision and in INT8."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnx

from pocketcrafter.benchmarks.common.names import CompetitorName
from pocketcrafter.benchmarks.latency.engines import EngineName, OpenVino, convert_to_litert, quantize_litert
from pocketcrafter.export import calibration
from pocketcrafter.export.backend import TorchBackend
from pocketcrafter.export.families.registry import student_network
from pocketcrafter.export.lower.measure import as_tensors
from pocketcrafter.export.lower.onnx.lowering import export_onnx
from pocketcrafter.export.lower.programs import frozen
from pocketcrafter.export.shipped import CALIBRATION_PHOTOS, WEIGHTS
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.bundle.goldens import read_tensors
from pocketcrafter.runtime.bundle.integrity import sha256_of
from pocketcrafter.runtime.bundle.manifest import ComponentEntry
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.errors import BackendError

_SAMPLES: Final = 16
_SEED: Final = 20


@dataclass(frozen=True)
class Contender:
    """A competitor made ready: what runs it, the file that it opens, and the numbers that it computes with."""

    backend: BackendName | EngineName
    artifact: Path
    precision: Precision = Precision.FP32


Prepare = Callable[[Bundle, ComponentEntry, Path], Contender]
"""Makes a competitor ready from a bundle's weights; may write into the folder given."""


def weights_of(bundle: Bundle, entry: ComponentEntry) -> Path:
    """Return the weights that a component was lowered from, as this installation has them.

    Raises
    ------
    BackendError
        If it does not have them, or has others.
    """
    weights = TorchBackend().weights(entry.source.weights)
    if sha256_of(weights) != entry.source.sha256:
        raise BackendError(
            f"{weights.name}: the installed weights are not those that `{entry.spec.name}` in {bundle.path} was "
            "built from; a ratio between different weights says nothing. Build the bundle again: pocketcrafter build"
        )
    return weights


def _torch_eager(bundle: Bundle, entry: ComponentEntry, folder: Path) -> Contender:
    del folder
    return Contender(BackendName.TORCH, weights_of(bundle, entry))


def _torch_compile(bundle: Bundle, entry: ComponentEntry, folder: Path) -> Contender:
    del folder
    return Contender(EngineName.TORCH_COMPILE, weights_of(bundle, entry))


def _onnxruntime(bundle: Bundle, entry: ComponentEntry, folder: Path) -> Contender:
    return Contender(BackendName.ONNXRUNTIME, _exported(bundle, entry, folder))


def _onnxruntime_dynamic(bundle: Bundle, entry: ComponentEntry, folder: Path) -> Contender:
    """Quantize as optimum does where nothing is calibrated: INT8 weights, activations as they come."""
    from optimum.onnxruntime import ORTQuantizer  # noqa: PLC0415 - slow, and only this needs it
    from optimum.onnxruntime.configuration import AutoQuantizationConfig  # noqa: PLC0415

    made = folder / f"dynamic-{entry.spec.name}"
    made.mkdir()
    model = onnx.load(_exported(bundle, entry, folder))
    # The quantizer transposes weights, and then stumbles over the shapes that the exporter noted.
    model.graph.ClearField("value_info")
    onnx.save(model, made / "plain.onnx")
    try:
        ORTQuantizer(made / "plain.onnx").quantize(
            save_dir=made, quantization_config=AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True)
        )
        (artifact,) = made.glob("*_quantized.onnx")
    except Exception as error:  # its exceptions and onnx's share no base class
        raise BackendError(f"optimum-onnx cannot quantize `{entry.spec.name}`: {error}") from error
    return Contender(BackendName.ONNXRUNTIME, artifact, Precision.W8A8_DYNAMIC)


def _openvino(bundle: Bundle, entry: ComponentEntry, folder: Path) -> Contender:
    """Quantize as NNCF does for OpenVINO: INT8 weights and activations, calibrated on the shipped photos."""
    if reason := OpenVino().missing():
        raise BackendError(reason)
    import nncf  # noqa: PLC0415 - slow, and only this needs it
    import openvino  # noqa: PLC0415

    exported, component = _exported(bundle, entry, folder), entry.spec.name
    drawn: list[Any] = list(_samples(entry))
    artifact = folder / f"{component}.xml"
    try:
        with redirect_stdout(sys.stderr):  # NNCF draws its progress there; standard output is for the result
            model = nncf.quantize(openvino.Core().read_model(exported), nncf.Dataset(drawn), subset_size=_SAMPLES)
        openvino.save_model(model, artifact, compress_to_fp16=False)
    except Exception as error:  # NNCF's and OpenVINO's exceptions share no base class
        raise BackendError(f"NNCF cannot quantize `{component}` for OpenVINO: {error}") from error
    return Contender(EngineName.OPENVINO, artifact, Precision.INT8)


def _litert(bundle: Bundle, entry: ComponentEntry, folder: Path) -> Contender:
    return Contender(EngineName.LITERT, _converted(bundle, entry, folder))


def _litert_int8(bundle: Bundle, entry: ComponentEntry, folder: Path) -> Contender:
    """Quantize as Google's AI Edge Quantizer does: INT8 weights and activations, calibrated on the shipped photos."""
    converted = _converted(bundle, entry, folder)
    artifact = converted.with_suffix(".int8.tflite")
    quantize_litert(converted, [list(sample.values()) for sample in _samples(entry)], artifact)
    return Contender(EngineName.LITERT, artifact, Precision.INT8)


def _converted(bundle: Bundle, entry: ComponentEntry, folder: Path) -> Path:
    """Return a component as float32 LiteRT, converted once a folder."""
    artifact = folder / f"{entry.spec.name}.tflite"
    if not artifact.exists():
        model = student_network(bundle.manifest.family, entry.spec.name, weights_of(bundle, entry))
        convert_to_litert(model, list(_golden(bundle, entry).values()), artifact)
    return artifact


def _samples(entry: ComponentEntry) -> Sequence[Mapping[str, FloatArray]]:
    """Draw a component's inputs from the photos that this package ships for calibration."""
    photos = sorted(CALIBRATION_PHOTOS.glob("*.jpg"))
    return calibration.samples(entry.spec.name, photos, WEIGHTS, _SAMPLES, _SEED)


def _golden(bundle: Bundle, entry: ComponentEntry) -> Mapping[str, FloatArray]:
    return read_tensors(bundle.file(entry.goldens[0].inputs), entry.spec.inputs)


def _exported(bundle: Bundle, entry: ComponentEntry, folder: Path) -> Path:
    """Return a component as float32 ONNX, exported once a folder, without what our own lowering then makes of it."""
    artifact = folder / f"{entry.spec.name}.onnx"
    if not artifact.exists():
        model = frozen(student_network(bundle.manifest.family, entry.spec.name, weights_of(bundle, entry)), ())
        export_onnx(model, as_tensors(_golden(bundle, entry), entry.spec), entry.spec, artifact)
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
