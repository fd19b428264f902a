"""The pipeline run with the critic's own plan tokens, with none, and with those of another photo.

Frames are compared pairwise; intervals are over photos.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

import numpy as np
from pydantic import Field, computed_field, model_validator

from pocketcrafter.benchmarks.common.clusters import Effect, clustered_mean
from pocketcrafter.benchmarks.common.frames import MeasuredFrame
from pocketcrafter.benchmarks.common.markdown import markdown
from pocketcrafter.benchmarks.common.picture_metrics import Reference, psnr_db
from pocketcrafter.benchmarks.common.result_files import Name
from pocketcrafter.export.data.manifest import Split
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.attribute_gate import GateSettings
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError
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
        if enhanced.plan is None or not enhanced.plan.is_active(*TONAL):
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


class ArmEffect(Config):
    """One kind of tokens with one kind of plan, beside the critic's own tokens on the same frames."""

    plan: PlanSource
    arm: TokenArm
    frames: int = Field(ge=1)
    delta_e: float = Field(description="Mean CIEDE2000 of the final picture.")
    psnr_db: float
    delta_e_change: Effect = Field(description="Against the own tokens; positive is harm.")
    psnr_change_db: Effect = Field(description="Against the own tokens; negative is harm.")

    @property
    def hurts(self) -> bool:
        """Whether the color error rises measurably: the whole interval is above zero."""
        return self.delta_e_change.low is not None and self.delta_e_change.low > 0


class BridgeReport(Config):
    """Everything that one `pocketcrafter bench bridge` measured."""

    schema_version: Literal[1] = 1
    bundle: Name
    manifest_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    split: Split
    seed: int
    measured: int = Field(ge=1, description="Frames looked at with each kind of plan.")
    frames: tuple[BridgeFrame, ...] = Field(description="Those on which the tone network ran.")

    @model_validator(mode="after")
    def _every_arm_everywhere(self) -> "BridgeReport":
        if any(set(frame.arms) != set(TokenArm) for frame in self.frames):
            raise ValueError("every frame must have figures for every kind of tokens")
        return self

    @computed_field  # type: ignore[prop-decorator] # mypy has no property under a decorator
    @property
    def effects(self) -> tuple[ArmEffect, ...]:
        """The means, computed from the frames; kinds of plan without a frame are left out."""
        return tuple(
            _effect(chosen, plan, arm)
            for plan in PlanSource
            if (chosen := [frame for frame in self.frames if frame.plan is plan])
            for arm in TokenArm
        )

    def verdict(self, plan: PlanSource) -> str:
        """Say in a sentence whether the tokens matter with one kind of plan."""
        effects = [e for e in self.effects if e.plan is plan and e.arm is not TokenArm.OWN]
        if not effects:
            return f"With {plan} plans the tone network never ran: nothing can be said of the tokens."
        hurting = [e for e in effects if e.hurts]
        if not hurting:
            return f"With {plan} plans the tokens do not measurably matter."
        found = ", ".join(f"{e.arm} {e.delta_e_change}" for e in hurting)
        return f"With {plan} plans the tokens measurably matter: ΔE2000 with them {found}."

    def tokens_matter(self, plan: PlanSource) -> bool:
        """Whether zeroed or shuffled tokens measurably hurt with one kind of plan."""
        return any(e.hurts for e in self.effects if e.plan is plan)


def bridge_table(report: BridgeReport) -> str:
    """Return the effects as a Markdown table, a row for each kind of plan and tokens."""
    head = ("plan", "tokens", "n", "ΔE2000", "change (95 %)", "PSNR", "change (95 %)")
    rows = []
    for e in report.effects:
        own = e.arm is TokenArm.OWN
        changes = ("–", "–") if own else (str(e.delta_e_change), f"{e.psnr_change_db} dB")
        rows.append((e.plan, e.arm, str(e.frames), f"{e.delta_e:.2f}", changes[0], f"{e.psnr_db:.2f} dB", changes[1]))
    return markdown(head, rows)


def _effect(frames: list[BridgeFrame], plan: PlanSource, arm: TokenArm) -> ArmEffect:
    photos = [frame.photo for frame in frames]
    pairs = [(frame.arms[arm], frame.arms[TokenArm.OWN]) for frame in frames]
    return ArmEffect(
        plan=plan,
        arm=arm,
        frames=len(frames),
        delta_e=sum(given.delta_e for given, _ in pairs) / len(pairs),
        psnr_db=sum(given.psnr_db for given, _ in pairs) / len(pairs),
        delta_e_change=clustered_mean([given.delta_e - own.delta_e for given, own in pairs], photos),
        psnr_change_db=clustered_mean([given.psnr_db - own.psnr_db for given, own in pairs], photos),
    )
