"""A network whose modules are quantized one at a time or together, and how one is made from settings."""

import copy
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import torch
from pydantic import Field
from torch import Tensor, nn

from pocketcrafter.benchmarks.common.frames import measured_frames
from pocketcrafter.benchmarks.common.names import TRIED, FrameKind
from pocketcrafter.benchmarks.common.options import SEED, photos_of
from pocketcrafter.benchmarks.common.prose import Asked, cases
from pocketcrafter.benchmarks.quantization.subjects import (
    Damage,
    Networks,
    PictureSubject,
    TriedSession,
    WordsSubject,
    full_precision,
    traced,
)
from pocketcrafter.export.backend import TorchBackend
from pocketcrafter.export.calibration import Sample, samples
from pocketcrafter.export.data.manifest import Split
from pocketcrafter.export.data.sources import NOISE_FILE
from pocketcrafter.export.families.pocket.networks import photos_in
from pocketcrafter.export.lower.measure import as_tensors, hold_back
from pocketcrafter.export.lower.programs import frozen
from pocketcrafter.export.models import decoder_network, load_component
from pocketcrafter.export.models.decoder import Decoder
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
from pocketcrafter.quantize.modules import is_within
from pocketcrafter.quantize.torch.fake_quant_switches import FakeQuantSwitches
from pocketcrafter.runtime.attribute_gate import GateSettings
from pocketcrafter.runtime.components import ComponentName
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.names import Mode
from pocketcrafter.runtime.pocket import POCKET_SPECS, Pocket
from pocketcrafter.runtime.prose.tokenizer import Words
from pocketcrafter.runtime.prose.writer import Writer

OPEN_GATE: Final = GateSettings.uniform(presence=0.5, confidence=0.0, dead_zone=0.0)
"""Lets more through than what people get: a network behind a closed gate would seem to do no harm."""

_KINDS: Final = (FrameKind.DEGRADED, FrameKind.NOISE)


class Trial(Protocol):
    """A network whose units can be cheap (few bits) or dear."""

    @property
    def units(self) -> tuple[str, ...]:
        """Qualified names of modules that are switched with everything below them."""

    def damage(self, cheap: Collection[str]) -> Damage:
        """Measure the network with these units cheap and the others dear."""

    def size(self, cheap: Collection[str]) -> int:
        """Return the bytes of its weights then."""


class PictureTrial:
    """A network of the pipeline with fake-quantization switches: INT8 is cheap, float32 is dear.

    Parameters
    ----------
    component, model
        The network in full precision, BatchNorm folded.
    board
        Its switches.
    subject
        What it is measured on.

    Attributes
    ----------
    board
        The switches.
    """

    def __init__(self, component: str, model: nn.Module, board: FakeQuantSwitches, subject: PictureSubject) -> None:
        self.board = board
        self._component, self._model, self._subject = component, model, subject
        self.units = blocks_of_modules(board.modules)

    def damage(self, cheap: Collection[str]) -> Damage:
        """Measure; the network's own joints are cheap with all of its units."""
        self.board.only(self.board.modules if set(cheap) >= set(self.units) else cheap)
        return self._subject.damage({self._component: self.session()})

    def session(self) -> TriedSession:
        """Return the network as it is switched."""
        reference = self._subject.networks.session(self._component)
        return TriedSession(self._run, self._component, reference)

    def size(self, cheap: Collection[str]) -> int:
        """Count a byte for each cheap weight, four for any other number."""
        chosen = tuple(cheap)
        return sum(
            tensor.numel() * (1 if name.endswith(".weight") and is_within(name, chosen) else 4)
            for name, tensor in self._model.named_parameters()
        )

    def _run(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return self.board.run(inputs)


class WordsTrial:
    """The decoder with its weights in blocks of few or of more bits.

    Parameters
    ----------
    decoder
        In full precision.
    cheap, dear
        Levels of each layer in either form; without ``dear`` a dear layer is float32.
    subject
        What it is measured on.
    """

    def __init__(
        self, decoder: Decoder, cheap: Mapping[str, Blocks], dear: Mapping[str, Blocks] | None, subject: WordsSubject
    ) -> None:
        self._decoder, self._cheap, self._dear, self._subject = decoder, cheap, dear, subject
        self.units = tuple(cheap)

    def damage(self, cheap: Collection[str]) -> Damage:
        """Measure."""
        return self._subject.damage(self.decoder(cheap))

    def decoder(self, cheap: Collection[str]) -> Decoder:
        """Return a decoder that has these layers cheap."""
        made = copy.deepcopy(self._decoder)
        for name in self.units:
            source = self._cheap if name in cheap else self._dear
            if source is not None:
                layer = made.get_submodule(name)
                layer.weight = nn.Parameter(source[name].weight(), requires_grad=False)
        return made

    def size(self, cheap: Collection[str]) -> int:
        """Count levels and scales."""
        sizes = {name: 4 * blocks.levels.numel() for name, blocks in self._cheap.items()}
        if self._dear is not None:
            sizes = {name: blocks.size for name, blocks in self._dear.items()}
        sizes |= {name: self._cheap[name].size for name in cheap}
        return sum(sizes.values())


def blocks_of_modules(modules: Sequence[str]) -> tuple[str, ...]:
    """Return the modules that a recipe may name, in order, without those that lie below another one of them."""
    named = [name for name in modules if name]
    return tuple(
        dict.fromkeys(name for name in named if not any(other != name and is_within(name, (other,)) for other in named))
    )


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
    prose_cases = cases(frames, gate, networks.session, tuple(Mode), SEED)
    asked = [Asked(c.tokens, c.plan, c.score, c.mode) for c in prose_cases]
    return WordsSubject(
        decoder_network(settings.weights / "decoder.safetensors"), [traced(a, writer, words) for a in asked]
    )
