"""The pipeline run with the critic's own plan tokens, with none, and with those of another photo."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import numpy as np
from pydantic import Field

from pocketcrafter.benchmarks.frames import MeasuredFrame
from pocketcrafter.benchmarks.quality.metrics import Reference, psnr_db
from pocketcrafter.benchmarks.quality.pictures import Name
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.gate import GateSettings
from pocketcrafter.runtime.photo.model import Photo, PhotoFormat
from pocketcrafter.runtime.pipeline import PhotoPipeline, SessionSource
from pocketcrafter.runtime.plan import TONAL, EditPlan
from pocketcrafter.runtime.pocket import Pocket

_OPEN_GATE: Final = GateSettings.uniform(presence=0, confidence=0, dead_zone=0)


class TokenArm(StrEnum):
    """Which tokens the tone network is given."""

    OWN = "own"
    ZEROED = "zeroed"
    SHUFFLED = "shuffled"


class PlanSource(StrEnum):
    """Which plan is carried out."""

    PREDICTED = "predicted"
    TRUE = "true"


class ArmFigures(Config):
    """The final picture beside the clean one."""

    delta_e: float = Field(ge=0)
    psnr_db: float


class BridgeFrame(Config):
    """One frame whose plan is tonal, so that the tone network ran, with every kind of tokens."""

    photo: Name
    repeat: int = Field(ge=0)
    plan: PlanSource
    arms: Mapping[TokenArm, ArmFigures]


class TokenAblation:
    """A pipeline whose tone network can be given other tokens, and whose critic another plan.

    Parameters
    ----------
    source
        The networks.
    threads
        Threads for the arithmetic outside them, ≥ 1.
    """

    def __init__(self, source: SessionSource, threads: int) -> None:
        self._swaps = _Swaps()
        self._pipeline = PhotoPipeline(_SwappedSource(source, self._swaps), threads=threads)

    def tokens(self, measured: MeasuredFrame) -> FloatArray:
        """Return the critic's tokens of a frame."""
        self._swaps.plan = self._swaps.tokens = None
        self._pipeline.critique(_photo(measured))
        return self._swaps.seen

    def figures(
        self, measured: MeasuredFrame, tokens: FloatArray, plan: EditPlan | None, reference: Reference
    ) -> ArmFigures | None:
        """Enhance a frame with these tokens.

        Parameters
        ----------
        measured
            The frame.
        tokens
            What the tone network is given.
        plan
            Carried out as it is; the gated prediction when not given.
        reference
            The frame's clean picture.

        Returns
        -------
        ArmFigures or None
            `None` where the plan is not tonal: the tone network did not run.
        """
        self._swaps.plan, self._swaps.tokens = plan, tokens
        enhanced = self._pipeline.enhance(_photo(measured))
        if not enhanced.plan.is_active(*TONAL):
            return None
        picture = enhanced.photo.pixels.astype(np.uint8)
        return ArmFigures(delta_e=reference.delta_e(picture), psnr_db=psnr_db(picture, reference.clean))


def ablate(frames: Sequence[MeasuredFrame], ablation: TokenAblation, seed: int) -> Iterator[BridgeFrame | None]:
    """Run every frame with every kind of tokens, with the predicted and with the true plan.

    Parameters
    ----------
    frames
        Of at least two photos.
    ablation
        The pipeline.
    seed
        Draws whose tokens a frame is given where they are shuffled: always those of another photo.

    Yields
    ------
    BridgeFrame or None
        Two for each frame, predicted plan first; `None` where the tone network did not run.

    Raises
    ------
    ConfigError
        If all frames come from one photo.
    """
    if len({frame.photo for frame in frames}) < 2:
        raise ConfigError("Tokens are shuffled between photos: at least two photos are needed.")
    own = [ablation.tokens(frame) for frame in frames]
    rng = np.random.default_rng(seed)
    for index, measured in enumerate(frames):
        others = [i for i, frame in enumerate(frames) if frame.photo != measured.photo]
        tokens = {
            TokenArm.OWN: own[index],
            TokenArm.ZEROED: np.zeros_like(own[index]),
            TokenArm.SHUFFLED: own[others[int(rng.integers(len(others)))]],
        }
        reference = Reference(measured.frame.clean)
        for source in PlanSource:
            plan = measured.frame.plan if source is PlanSource.TRUE else None
            arms = {arm: ablation.figures(measured, given, plan, reference) for arm, given in tokens.items()}
            ran = {arm: figures for arm, figures in arms.items() if figures is not None}
            yield BridgeFrame(photo=measured.photo, repeat=measured.repeat, plan=source, arms=ran) if ran else None


@dataclass
class _Swaps:
    """What goes in the place of what: set before a photo is enhanced."""

    plan: EditPlan | None = None
    tokens: FloatArray | None = None
    seen: FloatArray = field(default_factory=lambda: np.zeros(0, dtype=np.float32))


@dataclass(frozen=True)
class _SwappedSource:
    source: SessionSource
    swaps: _Swaps

    @property
    def gate(self) -> GateSettings:
        return self.source.gate if self.swaps.plan is None else _OPEN_GATE

    def has(self, component: str) -> bool:
        return self.source.has(component)

    def session(self, component: str) -> Session:
        session = self.source.session(component)
        match component:
            case Pocket.CRITIC:
                return _SwappedCritic(session, self.swaps)
            case Pocket.TONE:
                return _SwappedTone(session, self.swaps)
            case _:
                return session


@dataclass(frozen=True)
class _SwappedCritic:
    session: Session
    swaps: _Swaps

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        out = self.session.run(inputs)
        self.swaps.seen = out["tokens"]
        if self.swaps.plan is not None:
            sure = np.ones_like(out["presence"])
            return {**out, "plan": self.swaps.plan.vector()[None], "presence": sure, "confidence": sure}
        return out


@dataclass(frozen=True)
class _SwappedTone:
    session: Session
    swaps: _Swaps

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        tokens = inputs["tokens"] if self.swaps.tokens is None else self.swaps.tokens
        return self.session.run({**inputs, "tokens": np.ascontiguousarray(tokens)})


def _photo(measured: MeasuredFrame) -> Photo:
    return Photo(measured.frame.degraded, source_format=PhotoFormat.PNG)
