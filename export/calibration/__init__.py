"""What a component is calibrated with: real photos, degraded as in training, through the real pipeline.

Frames are stratified over faults (each attribute, either sign, little and much), because a calibrated range covers only
what the frames contain.

The decoder is calibrated on single steps out of critiques that it writes itself.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final

import numpy as np
import torch

from pocketcrafter.export.backend import TorchBackend
from pocketcrafter.export.data.degrade import ByteImage, Faults, Frame, degrade
from pocketcrafter.export.data.noise import NoiseModel
from pocketcrafter.export.data.photo_prep import read_pixels
from pocketcrafter.export.data.sampling import FAULTS, Focus, cut_square, draw_faults
from pocketcrafter.export.models import load_component
from pocketcrafter.export.models.critic import Judgement
from pocketcrafter.export.names import TOKENIZER
from pocketcrafter.export.train.evidence import FRAME_PX, critic_inputs, to_batch
from pocketcrafter.export.train.plan_proposals import SHIPPED
from pocketcrafter.quantize.algorithms.hessians import HessianCollector
from pocketcrafter.quantize.calibration import held_back
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.attribute_gate import GateSettings, apply_gate
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.geometry.turn import letterboxed
from pocketcrafter.runtime.names import Mode
from pocketcrafter.runtime.plan import RESTORATION, Attribute, CropBox, EditPlan
from pocketcrafter.runtime.plan_judge import judge_inputs, preview, propose
from pocketcrafter.runtime.pocket import POCKET_SPECS, TOKENS, Pocket
from pocketcrafter.runtime.prose.prompt import stated_plan
from pocketcrafter.runtime.prose.tokenizer import Words
from pocketcrafter.runtime.prose.writer import Writer
from pocketcrafter.runtime.render import render

SENSOR: Final = NoiseModel((4.5e-3, 2.2e-3, 3.2e-3), (2.6e-5, 2.1e-5, 2.7e-5))
"""A sensor of ordinary channel ratios; its gain is drawn for each frame."""

_LANDSCAPE: Final = CropBox(left=0, top=85, right=FRAME_PX, bottom=FRAME_PX - 85)
"""About 3:2, as most photos are: a square frame would leave no letterbox."""

Sample = Mapping[str, FloatArray]

_FAR: Final = 0.85
"""Dehazing, as much as the shipped gate carries out of any plan: nothing else takes colors so far.

Few frames are so hazy, and fewer are warm besides: one in a hundred lay wholly beyond what calibration had seen.
"""
_EVERY: Final = 7
"""Every seventh tone sample is such a plan's: a number that no usual number of photos shares a divisor with."""

_RESTORATION_COLUMNS: Final = [list(Attribute).index(a) for a in RESTORATION]
_CANDIDATES: Final = 24
"""Plans that each frame's is chosen from."""
CLEAN: Final = "no fault"
_GATE: Final = GateSettings.uniform(presence=0.5, confidence=0.0, dead_zone=0.0)
_FIRST_STEP: Final = 24
_STRIDE: Final = 13
_STEPS: Final = 48
"""Steps 24 to 71 are taken in turn: within the text of every critique, and long before the end of most."""
_TOKEN_EVERY: Final = 8
"""Every eighth sample is a plan token instead: with words alone, the input that tokens come in by would be all 0."""


def samples(
    component: str,
    photos: Sequence[Path],
    weights: Path,
    count: int,
    seed: int,
    collector: HessianCollector | None = None,
) -> list[Sample]:
    """Return inputs of a component, by name, made from photos.

    Parameters
    ----------
    component
        Whose inputs.
    photos
        Photos of at least 512 px on both sides; taken in turn.
    weights
        Folder of the full-precision weights; the tone network's and the decoder's inputs come from the critic.
    count, seed
        How many samples, and what their faults are drawn from, evenly over attributes, signs and amounts.
    collector
        Sees the component's own network, where that runs to make samples (the decoder writes its prefixes itself), but
        for the samples that will be held back.

    Raises
    ------
    ConfigError
        If there is no photo, or one is too small.
    """
    if not photos:
        raise ConfigError("Calibration needs photos: the folder holds none. Put at least eight into it.")
    collector = collector or HessianCollector()
    make = _MAKERS[component](weights, collector)
    pixels = [_read(path) for path in photos]
    drawn = []
    for index, faults in enumerate(_faults(component, count, seed)):
        collector.enabled = index < count - held_back(count)
        rng = np.random.default_rng([seed, index])
        drawn.append(make(degrade(cut_square(pixels[index % len(pixels)], FRAME_PX, rng), faults, rng)))
    return drawn


def frames_in_strata(component: str, count: int, seed: int) -> dict[str, int]:
    """Return how many of the frames that `samples` makes lie in each stratum of faults.

    Parameters
    ----------
    component
        Component of the pocket family.
    count
        Number of frames.
    seed
        What the faults are drawn from.
    """
    return covered(faults.plan for faults in _faults(component, count, seed))


def _faults(component: str, count: int, seed: int) -> list[Faults]:
    focus = Focus.RESTORATION if component == Pocket.RESTORE else Focus.EVERYTHING
    return stratified_faults(count, seed, focus, [SENSOR])


def _read(path: Path) -> ByteImage:
    try:
        pixels = read_pixels(path)
    except Exception as error:  # Pillow's readers raise whatever a damaged file makes them
        raise ConfigError(
            f"{path}: this calibration photo cannot be read ({error}); repair it, or take it out of the folder."
        ) from error
    if min(pixels.shape[:2]) < FRAME_PX:
        raise ConfigError(
            f"{path}: calibration photos need {FRAME_PX} px on both sides; this one has {pixels.shape[:2]}."
        )
    return pixels


def _critic_sample(frame: Frame) -> Sample:
    view, crops = critic_inputs(frame.degraded)
    return {"view": _network_input(view[None]), "crops": _network_input(crops)}


def _restore_sample(frame: Frame) -> Sample:
    amounts = frame.plan.vector()[_RESTORATION_COLUMNS]
    return {"tile": _network_input(frame.degraded[None]), "amounts": amounts[None]}


def _tone_samples(weights: Path, _collector: HessianCollector) -> Callable[[Frame], Sample]:
    judge, turns = _judge(weights), count(1)

    def make(frame: Frame) -> Sample:
        seen, said = _critic_sample(frame), judge(frame)
        plan = EditPlan.from_vector(np.where(said.presence[0] > 0.5, said.plan[0], 0).astype(np.float32))
        if next(turns) % _EVERY == 0:
            plan = plan.model_copy(update={Attribute.DEHAZE.value: _FAR})
        rendered = np.ascontiguousarray(render(plan, seen["view"][0].transpose(1, 2, 0)).transpose(2, 0, 1)[None])
        return {"view": seen["view"], "rendered": rendered, "plan": plan.vector()[None], "tokens": said.tokens.numpy()}

    return make


def _judge_samples(weights: Path, _collector: HessianCollector) -> Callable[[Frame], Sample]:
    judge = _judge(weights)

    def make(frame: Frame) -> Sample:
        said = judge(frame)
        small, plans = preview(_critic_sample(frame)["view"]), propose(said.plan[0].numpy(), SHIPPED)
        return judge_inputs(small, plans, said.tokens.numpy())

    return make


def _composition_sample(frame: Frame) -> Sample:
    view, inside = letterboxed(frame.degraded, _LANDSCAPE)
    return {"view": view, "inside": inside}


def _judge(weights: Path) -> Callable[[Frame], Judgement]:
    critic = load_component(Pocket.CRITIC, weights / "critic.safetensors")

    def judge(frame: Frame) -> Judgement:
        with torch.inference_mode():
            return Judgement(*critic(*(torch.from_numpy(a) for a in _critic_sample(frame).values())))

    return judge


def _network_input(pictures: ByteImage) -> FloatArray:
    array: FloatArray = to_batch(pictures).contiguous().numpy()
    return array


_MAKERS: Final[Mapping[str, Callable[[Path, HessianCollector], Callable[[Frame], Sample]]]] = {
    Pocket.CRITIC: lambda _weights, _collector: _critic_sample,
    Pocket.JUDGE: _judge_samples,
    Pocket.TONE: _tone_samples,
    Pocket.RESTORE: lambda _weights, _collector: _restore_sample,
    Pocket.DECODER: lambda weights, collector: decoder_samples(weights, _judge(weights), collector),
    Pocket.COMPOSITION: lambda _weights, _collector: _composition_sample,
}


def stratified_faults(count: int, seed: int, focus: Focus, noise_models: Sequence[NoiseModel]) -> list[Faults]:
    """Draw the faults of calibration frames, each frame's from many so that it fills strata that few others are in.

    Parameters
    ----------
    count, seed
        How many frames, and what they are drawn from; the first frames of many are those of few.
    focus, noise_models
        As in `pocketcrafter.export.data.sampling.draw_faults`.
    """
    seen: Counter[str] = Counter()
    drawn = []
    for index in range(count):
        candidates = [
            draw_faults(np.random.default_rng([seed, index, turn]), noise_models, focus) for turn in range(_CANDIDATES)
        ]
        found = [strata_of(faults.plan) for faults in candidates]
        # What is rarest decides: a frame of many faults may repeat some, but one that is all new goes first.
        best = max(range(_CANDIDATES), key=lambda turn: _worth(found[turn], seen))
        seen.update(found[best])
        drawn.append(candidates[best])
    return drawn


def strata_of(plan: EditPlan) -> tuple[str, ...]:
    """Return the strata that a plan lies in, such as ``exposure + much``: one for each fault; `CLEAN` without any."""
    return tuple(
        f"{attribute} {'+' if amount > 0 else '-'} {'much' if abs(amount) > _middle(attribute, amount) else 'little'}"
        for attribute in Attribute
        if (amount := float(getattr(plan, attribute.value)))
    ) or (CLEAN,)


def covered(plans: Iterable[EditPlan]) -> dict[str, int]:
    """Count the frames in each stratum, all strata that can be drawn among them."""
    counts = Counter(stratum for plan in plans for stratum in strata_of(plan))
    sides = [(a, s) for a, r in FAULTS.items() for s, bounds in (("+", r.positive), ("-", r.negative)) if bounds]
    known = [CLEAN, *(f"{a} {sign} {amount}" for a, sign in sides for amount in ("little", "much"))]
    return {name: counts[name] for name in known}


def _worth(strata: Sequence[str], seen: Counter[str]) -> float:
    return math.fsum(4.0 ** -seen[stratum] for stratum in strata) / math.sqrt(len(strata))


def _middle(attribute: Attribute, amount: float) -> float:
    bounds = FAULTS[attribute].positive if amount > 0 else FAULTS[attribute].negative
    return sum(bounds) / 2 if bounds else 0.0


def decoder_samples(
    weights: Path, judge: Callable[[Frame], Judgement], collector: HessianCollector
) -> Callable[[Frame], Mapping[str, FloatArray]]:
    """Return what makes a sample of a frame.

    Parameters
    ----------
    weights
        Folder with the decoder's weights and tokenizer.
    judge
        The critic.
    collector
        Sees every step that the decoder takes until a sample is there.
    """
    network = TorchBackend().open(weights / "decoder.safetensors", POCKET_SPECS[Pocket.DECODER], threads=1)
    session = _Recorder(network)
    writer, turns = Writer(session, Words.read(weights / TOKENIZER)), count()

    def make(frame: Frame) -> Mapping[str, FloatArray]:
        turn = next(turns)
        said = judge(frame)
        plan = apply_gate(said.plan[0].numpy(), said.presence[0].numpy(), said.confidence[0].numpy(), _GATE)
        session.wait_for(_step_of(turn))
        mode = Mode.SHORT if turn % 2 else Mode.FULL
        with suppress(_EnoughError), collector.attached(network.model):
            writer.write(said.tokens.numpy(), stated_plan(plan, _GATE), 100 * float(said.score[0, 0]), mode)
        return session.kept

    return make


def _step_of(turn: int) -> int:
    # Of the tokens the last: it comes with the caches that the others filled.
    return _FIRST_STEP + turn * _STRIDE % _STEPS if turn % _TOKEN_EVERY != _TOKEN_EVERY - 1 else TOKENS - 1


class _EnoughError(Exception):
    """The step that was waited for is here: the rest of the critique is not needed."""


class _Recorder:
    """A session that keeps the inputs of one of its runs, and ends there."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._left = 0
        self.kept: Mapping[str, FloatArray] = {}

    def wait_for(self, step: int) -> None:
        self._left = step

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        if self._left == 0:
            self.kept = {name: np.array(array) for name, array in inputs.items()}
            raise _EnoughError
        self._left -= 1
        return self._session.run(inputs)
