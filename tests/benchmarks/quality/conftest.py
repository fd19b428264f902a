"""Corners of real degraded frames, and subjects whose answers are known."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pocketcrafter.benchmarks.common.frames import MeasuredFrame, measured_frames
from pocketcrafter.benchmarks.common.names import FrameKind
from pocketcrafter.export.data.degrade import ByteImage, Frame
from pocketcrafter.runtime.critique import AttributeOpinion, Critique, Item
from pocketcrafter.runtime.plan import Attribute, EditPlan


@pytest.fixture(scope="session")
def frames(photos: list[Path], noise_profiles: Path) -> list[MeasuredFrame]:
    """Corners, as ΔE2000 and SSIM of whole frames take long."""
    kinds = [FrameKind.DEGRADED, FrameKind.CLEAN, FrameKind.NOISE]
    whole = measured_frames(photos[:2], noise_profiles, kinds, per_photo=1, seed=1)
    return [replace(measured, frame=_corner(measured.frame)) for measured in whole]


def _corner(frame: Frame) -> Frame:
    pictures = (picture[:128, :128] for picture in (frame.degraded, frame.tonal, frame.clean))
    return Frame(*pictures, plan=frame.plan)


class Answering:
    """A subject that gives the picture, the plan and the score that functions say."""

    def __init__(
        self, picture: Callable[[ByteImage], ByteImage], plan: Callable[[ByteImage], EditPlan], score: float = 50
    ) -> None:
        self.picture, self.plan, self.fixed = picture, plan, score

    def enhance(self, picture: ByteImage) -> tuple[ByteImage, Critique]:
        return self.picture(picture), critique(self.plan(picture), self.fixed)

    def score(self, picture: ByteImage) -> float:
        return self.fixed + float(picture.std()) / 10


def critique(plan: EditPlan, score: float) -> Critique:
    opinions = {
        a: AttributeOpinion(amount=getattr(plan, a), presence=float(plan.is_active(a)), confidence=1) for a in Attribute
    }
    return Critique(score=score, findings=dict.fromkeys(Item, "not_assessed"), plan=plan, opinions=opinions)


@pytest.fixture(scope="session")
def idle() -> Answering:
    """Does nothing."""
    return Answering(lambda picture: picture, lambda _: EditPlan())


@pytest.fixture(scope="session")
def inverter() -> Answering:
    """Makes a negative of everything."""
    return Answering(lambda picture: 255 - picture, lambda _: EditPlan(exposure_ev=1.0))


@pytest.fixture(scope="session")
def oracle(frames: list[MeasuredFrame]) -> Answering:
    """Knows the truth."""
    answers = {m.frame.degraded.tobytes(): m.frame for m in frames}
    return Answering(lambda p: answers[p.tobytes()].clean, lambda p: answers[p.tobytes()].plan)
