"""What each method gains over the plainest one: tensors and the end of the pipeline, side by side."""

import copy
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import onnx
import torch
from pydantic import Field
from torch import Tensor, nn

from pocketcrafter.benchmarks.common.markdown import markdown, plain
from pocketcrafter.benchmarks.quantization.sensitivity import damage_cells
from pocketcrafter.benchmarks.quantization.subjects import Damage, PictureSubject, TriedSession, WordsSubject
from pocketcrafter.benchmarks.quantization.trials import (
    OPEN_GATE,
    TrialSettings,
    WordsTrial,
    decoder_hessians,
    drawn_as_built,
    picture_subject,
    picture_trial,
    words_subject,
)
from pocketcrafter.export.calibration import Sample
from pocketcrafter.export.lower.measure import as_tensors
from pocketcrafter.export.lower.onnx.lowering import export_onnx
from pocketcrafter.export.lower.programs import frozen
from pocketcrafter.export.models import decoder_network, load_component
from pocketcrafter.export.models.decoder import Decoder
from pocketcrafter.quantize.algorithms.equalization import smoothed
from pocketcrafter.quantize.algorithms.rounding import round_linears
from pocketcrafter.quantize.api import quantize
from pocketcrafter.quantize.calibration import Calibration
from pocketcrafter.quantize.config import (
    ActivationRange,
    BitWidth,
    Entropy,
    Gptq,
    MinMax,
    Mse,
    Nearest,
    Percentile,
    StaticInt8,
    WeightOnly,
)
from pocketcrafter.quantize.onnx.graph import save_stripped
from pocketcrafter.quantize.onnx.nncf import compress_nncf, quantize_nncf, quantize_nncf_controlled
from pocketcrafter.runtime.backends.onnxruntime import OnnxRuntimeBackend
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.fidelity import sqnr_db
from pocketcrafter.runtime.pocket import POCKET_SPECS, PROSE_LAYERS, Pocket
from pocketcrafter.runtime.progress import Progress

DECODER_PAIRS: Final[Mapping[str, Sequence[str]]] = {
    **{
        f"blocks.{i}.norm_attention": [f"blocks.{i}.{n}" for n in ("query", "key", "value")]
        for i in range(PROSE_LAYERS)
    },
    **{f"blocks.{i}.norm_hidden": [f"blocks.{i}.{n}" for n in ("gate", "up")] for i in range(PROSE_LAYERS)},
    **{f"blocks.{i}.up": [f"blocks.{i}.down"] for i in range(PROSE_LAYERS)},
    "norm": ["logits"],
}
"""Layers of the decoder by what makes their inputs."""

_OURS: Final = "ours"
_JUDGED: Final = 4
"""Samples that NNCF judges by; it calibrates with the others."""


def _ours(fp32_onnx: Path, calibration: Sequence[Sample], out: Path) -> None:
    save_stripped(quantize(onnx.load(fp32_onnx), StaticInt8(), Calibration(calibration)), out)


_ONNX: Final[Mapping[str, Callable[[Path, Sequence[Sample], Path], None]]] = {
    _OURS: _ours,
    "NNCF with bias correction": quantize_nncf,
}
_RANGES: Final[tuple[ActivationRange, ...]] = (MinMax(), Percentile(), Mse(), Entropy())
_STRENGTHS: Final = (0.25, 0.5)
_BITS: Final[tuple[BitWidth, ...]] = (8, 4, 2)
_WORDS: Final = "word"
"""The decoder's layer whose input is a word, one-hot."""


class MethodRow(Config):
    """One method."""

    method: str
    damage: Damage
    seconds: float | None = Field(None, description="What quantizing took, where a toolchain did all of it.")


class MethodsReport(Config):
    """What `pocketcrafter quantize methods` found."""

    trial: TrialSettings
    rows: tuple[MethodRow, ...]


def compare_methods(settings: TrialSettings, progress: Progress) -> MethodsReport:
    """Measure a component with each method that applies to it, wholly quantized."""
    rows = _of_words(settings, progress) if settings.component == Pocket.DECODER else _of_pictures(settings, progress)
    return MethodsReport(trial=settings, rows=tuple(rows))


def methods_table(report: MethodsReport) -> str:
    """Return the rows as a Markdown table."""
    head = ("method", "ΔE2000 mean", "worst", "PSNR dB", "plan error", "tokens that differ", "SQNR dB", "seconds")
    return markdown(head, [(row.method, *damage_cells(row.damage), plain(row.seconds, 0)) for row in report.rows])


def _of_pictures(settings: TrialSettings, progress: Progress) -> list[MethodRow]:
    """Try every range; what weights or activations alone cost bounds what any method could win back from them."""
    subject = picture_subject(settings, OPEN_GATE)
    rows = []
    for done, ranges in enumerate(_RANGES):
        progress(done, len(_RANGES))
        trial = picture_trial(settings.model_copy(update={"ranges": ranges}), subject)
        rows.append(MethodRow(method=f"INT8, {ranges.method} ranges", damage=trial.damage(trial.units)))
        if isinstance(ranges, MinMax):
            for what, weights in (("weights", True), ("activations", False)):
                trial.board.only_kind(weights=weights)
                damage = subject.damage({settings.component: trial.session()})
                rows.append(MethodRow(method=f"INT8, {ranges.method} ranges, {what} alone", damage=damage))
    rows += _of_onnx(settings, subject)
    progress(len(_RANGES), len(_RANGES))
    return rows


def _of_onnx(settings: TrialSettings, subject: PictureSubject) -> list[MethodRow]:
    """Try the toolchains that quantize ONNX models, each model run as users run it."""
    component, rows = settings.component, []
    spec = POCKET_SPECS[component]
    drawn = drawn_as_built(settings)
    model = frozen(load_component(component, settings.weights / f"{component}.safetensors"), ())
    with tempfile.TemporaryDirectory(prefix="pocketcrafter-methods-") as name:
        exported, made = Path(name) / "fp32.onnx", Path(name) / "made.onnx"
        export_onnx(model, as_tensors(drawn[0], spec), spec, exported)
        for what, quantize in _ONNX.items():
            rows.append(_tried(subject, component, what, quantize, exported, drawn, made))
            if what == _OURS:
                least_db = _nearness_db(exported, made, spec, drawn[-_JUDGED:])
        back: list[str] = []

        def controlled(stored: Path, calibration: Sequence[Sample], out: Path) -> None:
            back.extend(quantize_nncf_controlled(stored, calibration, out, least_db=least_db, judged=_JUDGED))

        row = _tried(subject, component, "NNCF with accuracy control", controlled, exported, drawn, made)
        method = f"{row.method}, asked for our {least_db:.1f} dB ({len(back)} modules back in float32)"
        rows.append(row.model_copy(update={"method": method}))
    return rows


def _tried(
    subject: PictureSubject,
    component: str,
    what: str,
    quantize: Callable[[Path, Sequence[Sample], Path], None],
    exported: Path,
    drawn: Sequence[Sample],
    made: Path,
) -> MethodRow:
    start = time.perf_counter()
    quantize(exported, drawn, made)
    seconds = time.perf_counter() - start
    session = TriedSession(_opened(made, POCKET_SPECS[component]), component, subject.networks.session(component))
    return MethodRow(method=f"INT8 onnx, {what}", damage=subject.damage({component: session}), seconds=seconds)


def _nearness_db(reference: Path, actual: Path, spec: ComponentSpec, drawn: Sequence[Sample]) -> float:
    reference_session, actual_session = (OnnxRuntimeBackend().open(path, spec, 1) for path in (reference, actual))
    ratios = []
    for sample in drawn:
        expected, outputs = reference_session.run(sample), actual_session.run(sample)
        ratios.append(min(sqnr_db(expected[t.name], outputs[t.name]) for t in spec.outputs))
    return sum(ratios) / len(ratios)


def _opened(path: Path, spec: ComponentSpec) -> Callable[[tuple[Tensor, ...]], list[Tensor]]:
    session = OnnxRuntimeBackend().open(path, spec, 1)

    def run(inputs: tuple[Tensor, ...]) -> list[Tensor]:
        sample = {t.name: value.numpy() for t, value in zip(spec.inputs, inputs, strict=True)}
        outputs = session.run(sample)
        return [torch.from_numpy(outputs[t.name]) for t in spec.outputs]

    return run


def _of_words(settings: TrialSettings, progress: Progress) -> list[MethodRow]:
    subject = words_subject(settings, OPEN_GATE)
    decoder, hessians = decoder_network(settings.weights / "decoder.safetensors"), decoder_hessians(settings)
    variants = [("to the nearest level", decoder, Nearest(), hessians), ("GPTQ", decoder, Gptq(), hessians)]
    for strength in _STRENGTHS:
        model, changed = smoothed(decoder, DECODER_PAIRS, hessians, strength)
        variants += [
            (f"smoothed by {strength:g}, nearest", model, Nearest(), changed),
            (f"smoothed by {strength:g}, GPTQ", model, Gptq(), changed),
        ]
    rows = []
    jobs = [(bits, *variant) for bits in _BITS for variant in variants]
    for done, (bits, name, model, rounding, seen) in enumerate(jobs):
        progress(done, len(jobs))
        rounded = round_linears(model, WeightOnly(bits=bits, rounding=rounding), seen)
        trial = WordsTrial(model, rounded, None, subject)
        rows.append(MethodRow(method=f"INT{bits}, {name}", damage=trial.damage(trial.units)))
    rows += _of_compressed(settings, decoder, subject)
    progress(len(jobs), len(jobs))
    return rows


def _of_compressed(settings: TrialSettings, decoder: Decoder, subject: WordsSubject) -> list[MethodRow]:
    """Try the weights that NNCF makes of the exported decoder, in the network that critiques are compared with."""
    spec = POCKET_SPECS[Pocket.DECODER]
    drawn = drawn_as_built(settings)
    rows = []
    with tempfile.TemporaryDirectory(prefix="pocketcrafter-methods-") as name:
        exported = Path(name) / "fp32.onnx"
        export_onnx(frozen(decoder, ()), as_tensors(drawn[0], spec), spec, exported)
        plain = compress_nncf(exported)
        # Estimated, the scales of words that calibration never saw are lost, and half of all choices with them.
        estimated = compress_nncf(exported, drawn) | {_WORDS: plain[_WORDS]}
    for what, weights in (("weights alone", plain), ("with scale estimation but for the words", estimated)):
        made = copy.deepcopy(decoder)
        for layer, weight in weights.items():
            made.get_submodule(layer).weight = nn.Parameter(weight, requires_grad=False)
        rows.append(MethodRow(method=f"INT4, NNCF {what}", damage=subject.damage(made)))
    return rows
