"""From options to a trial: frames, calibration, the network under trial and everything around it."""

from pathlib import Path
from typing import Final

import torch
from pydantic import Field

from pocketcrafter.benchmarks.frames import measured_frames
from pocketcrafter.benchmarks.names import TRIED, FrameKind
from pocketcrafter.benchmarks.options import SEED, photos_of
from pocketcrafter.benchmarks.prose.greedy import Asked
from pocketcrafter.benchmarks.prose.subjects import cases
from pocketcrafter.benchmarks.quantization.pictures import PictureSubject
from pocketcrafter.benchmarks.quantization.sessions import Networks, full_precision
from pocketcrafter.benchmarks.quantization.trials import PictureTrial, Trial, WordsTrial
from pocketcrafter.benchmarks.quantization.words import WordsSubject, traced
from pocketcrafter.export.backend import TorchBackend
from pocketcrafter.export.calibration import Sample, samples
from pocketcrafter.export.data.manifest import Split
from pocketcrafter.export.data.sources import NOISE_FILE
from pocketcrafter.export.families.pocket.networks import photos_in
from pocketcrafter.export.lower.measure import as_tensors, hold_back
from pocketcrafter.export.lower.programs import frozen
from pocketcrafter.export.models import decoder_network, load_component
from pocketcrafter.export.names import TOKENIZER
from pocketcrafter.export.recipe import load_recipe, resolve
from pocketcrafter.export.shipped import DEFAULT_RECIPE
from pocketcrafter.quantize.algorithms.blocks import Blocks
from pocketcrafter.quantize.algorithms.hessians import HessianCollector, Hessians
from pocketcrafter.quantize.algorithms.rounding import round_linears
from pocketcrafter.quantize.config import (
    ActivationRange,
    BitWidth,
    Gptq,
    Nearest,
    Percentile,
    Rounding,
    StaticInt8,
    WeightOnly,
)
from pocketcrafter.quantize.torch.fake_quant_switches import FakeQuantSwitches
from pocketcrafter.runtime.components import ComponentName
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.gate import GateSettings
from pocketcrafter.runtime.names import Mode
from pocketcrafter.runtime.pocket import POCKET_SPECS, Pocket
from pocketcrafter.runtime.prose.tokenizer import Words
from pocketcrafter.runtime.prose.writer import Writer

OPEN_GATE: Final = GateSettings.uniform(presence=0.5, confidence=0.0, dead_zone=0.0)
"""Lets more through than what people get: a network behind a closed gate would seem to do no harm."""

_KINDS: Final = (FrameKind.DEGRADED, FrameKind.NOISE)


class TrialSettings(Config):
    """What is tried, and on what."""

    component: ComponentName
    weights: Path = Field(description="Folder of the full-precision weights.")
    data: Path
    split: Split
    photos: int = Field(ge=1, description="Photos of that side; two frames are made of each, or four critiques.")
    samples: int = Field(
        16,
        ge=5,
        description="Samples drawn from the shipped calibration photos; the last quarter, at most 8, is held back.",
    )
    ranges: ActivationRange = Field(Percentile(), description="Of INT8 activations.")
    bits: BitWidth = Field(4, description="Bits of the decoder's cheap layers.")
    dear_bits: BitWidth | None = Field(None, description="Bits of its other layers; float32 when not given.")
    rounding: Rounding = Field(Gptq(), description="Of the decoder's weights.")


def make_trial(settings: TrialSettings) -> Trial:
    """Return the trial; takes a while, and needs nothing but the settings: any process can.

    Raises
    ------
    ConfigError
        If a weights file or the photos are missing, or the component cannot be tried.
    """
    torch.set_num_threads(1)
    if settings.component not in TRIED:
        raise ConfigError(f"`{settings.component}` is built in float everywhere; choose from {', '.join(TRIED)}.")
    if settings.component == Pocket.DECODER:
        return words_trial(settings)
    return picture_trial(settings)


def picture_trial(
    settings: TrialSettings, subject: PictureSubject | None = None, keep_fp32: tuple[str, ...] = ()
) -> PictureTrial:
    """Return the trial of a network that a picture goes through; what is kept in float32 has no switch.

    Parameters
    ----------
    settings
        Component, weights, calibration and photos.
    subject
        What damage is measured on; made from the settings when `None`.
    keep_fp32
        Modules that are never quantized.
    """
    component = settings.component
    spec = POCKET_SPECS[component]
    subject = subject or picture_subject(settings, OPEN_GATE)
    model = frozen(load_component(component, settings.weights / f"{component}.safetensors"), ())
    used, _ = hold_back(drawn_as_built(settings), spec)
    calibration = [as_tensors(sample, spec) for sample in used]
    board = FakeQuantSwitches(model, calibration, StaticInt8(keep_fp32=keep_fp32, range=settings.ranges))
    return PictureTrial(component, model, board, subject)


def drawn_as_built(settings: TrialSettings, collector: HessianCollector | None = None) -> list[Sample]:
    """Draw the samples that a build of the shipped recipe draws, where as many are asked for."""
    drawn = load_recipe(DEFAULT_RECIPE).calibration
    photos = photos_in(resolve(DEFAULT_RECIPE, drawn.photos))
    return samples(settings.component, photos, settings.weights, settings.samples, drawn.seed, collector)


def picture_subject(settings: TrialSettings, gate: GateSettings) -> PictureSubject:
    """Return frames of the photos: one with any faults, one with noise."""
    _, photos = photos_of(settings.data, settings.split, settings.photos)
    frames = measured_frames(photos, settings.data / NOISE_FILE, _KINDS, 1, SEED)
    return PictureSubject(full_precision(settings.weights, gate, threads=1), [f.frame.degraded for f in frames])


def words_trial(settings: TrialSettings, subject: WordsSubject | None = None) -> WordsTrial:
    """Return the trial of the decoder."""
    decoder = decoder_network(settings.weights / "decoder.safetensors")
    hessians = {} if isinstance(settings.rounding, Nearest) else decoder_hessians(settings)

    def rounded(bits: BitWidth) -> dict[str, Blocks]:
        return round_linears(decoder, WeightOnly(bits=bits, rounding=settings.rounding), hessians)

    cheap = rounded(settings.bits)
    dear = None if settings.dear_bits is None else rounded(settings.dear_bits)
    return WordsTrial(decoder, cheap, dear, subject or words_subject(settings, OPEN_GATE))


def decoder_hessians(settings: TrialSettings) -> Hessians:
    """Let the decoder write its calibration critiques, and return the Hessians of its layers."""
    collector = HessianCollector()
    drawn_as_built(settings.model_copy(update={"component": Pocket.DECODER}), collector)
    return collector.hessians()


def words_subject(settings: TrialSettings, gate: GateSettings) -> WordsSubject:
    """Return critiques of frames of the photos: at length and in short, of gated plans and of any."""
    _, photos = photos_of(settings.data, settings.split, settings.photos)
    frames = measured_frames(photos, settings.data / NOISE_FILE, _KINDS[:1], 1, SEED)
    backend, spec = TorchBackend(), POCKET_SPECS[Pocket.DECODER]
    networks: Networks = full_precision(settings.weights, gate, threads=1)
    words = Words.read(settings.weights / TOKENIZER)
    writer = Writer(backend.open(settings.weights / "decoder.safetensors", spec, threads=1), words)
    told = cases(frames, networks.session(Pocket.CRITIC), gate, tuple(Mode), SEED)
    asked = [Asked(c.tokens, c.plan, c.score, c.mode) for c in told]
    return WordsSubject(
        decoder_network(settings.weights / "decoder.safetensors"), [traced(a, writer, words) for a in asked]
    )
