"""The ablation of the plan tokens: it sees an artist that reads them, and one that doesn't."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from pocketcrafter.benchmarks.common.frames import MeasuredFrame, measured_frames
from pocketcrafter.benchmarks.common.names import FrameKind
from pocketcrafter.benchmarks.common.result_files import result_of
from pocketcrafter.benchmarks.token_ablation import (
    ArmFigures,
    BridgeFrame,
    BridgeReport,
    PlanSource,
    TokenAblation,
    TokenArm,
    ablate,
    bridge_table,
)
from pocketcrafter.export.data.degrade import Frame
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.attribute_gate import GateSettings
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.grid import IDENTITY
from pocketcrafter.runtime.plan import EditPlan
from pocketcrafter.runtime.pocket import TOKEN_DIM, TOKENS, Pocket

OFFSETS = [3, 7, 11]


@dataclass
class KnowingCritic:
    """Asks for a little light, and says in its tokens how bright the photo is."""

    exposure_ev: float

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        plan = EditPlan(exposure_ev=self.exposure_ev).vector()[None]
        sure = np.ones_like(plan)
        tokens = np.full((1, TOKENS, TOKEN_DIM), inputs["view"].mean(), dtype=np.float32)
        return {
            "plan": plan,
            "presence": sure,
            "confidence": sure,
            "score": np.ones((1, 1), np.float32),
            "tokens": tokens,
        }


@dataclass
class TokenReadingTone:
    """Shifts every color by how wrong its tokens are about the photo's brightness: not at all with the right ones."""

    weight: float

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        grid = IDENTITY[None].copy()
        grid[:, OFFSETS] += self.weight * (inputs["view"].mean() - inputs["tokens"].mean())
        return {"grid": grid.astype(np.float32)}


@dataclass
class Networks:
    weight: float
    exposure_ev: float = 0.1

    gate = GateSettings.uniform(presence=0.5, confidence=0.5, dead_zone=0)

    def has(self, component: str) -> bool:
        return component in (Pocket.CRITIC, Pocket.TONE)

    def session(self, component: str) -> Session:
        return {Pocket.CRITIC: KnowingCritic(self.exposure_ev), Pocket.TONE: TokenReadingTone(self.weight)}[component]


@pytest.fixture(scope="module")
def frames(photos: list[Path], noise_profiles: Path) -> list[MeasuredFrame]:
    """A frame of each of three photos, too dark by one stop, their corners only."""
    made = []
    for measured in measured_frames(photos, noise_profiles, [FrameKind.CLEAN], per_photo=1, seed=3):
        clean = measured.frame.clean[:96, :96]
        dark = (clean * 0.7).astype(np.uint8)
        made.append(replace(measured, frame=Frame(dark, dark, clean, EditPlan(exposure_ev=1.0))))
    return made


def report_of(frames: list[MeasuredFrame], networks: Networks) -> BridgeReport:
    found = list(ablate(frames, TokenAblation(networks, threads=1), seed=0))
    assert len(found) == 2 * len(frames)
    return BridgeReport(
        bundle="small", manifest_sha256="0" * 64, split="heldout", seed=0, measured=len(frames),
        frames=tuple(frame for frame in found if frame is not None),
    )  # fmt: skip


def test_an_artist_that_reads_its_tokens_suffers_without_them(frames: list[MeasuredFrame]) -> None:
    report = report_of(frames, Networks(weight=1.0))
    effects = {(e.plan, e.arm): e for e in report.effects}
    assert set(effects) == {(plan, arm) for plan in PlanSource for arm in TokenArm}
    for plan in PlanSource:
        assert effects[plan, TokenArm.ZEROED].hurts
        assert effects[plan, TokenArm.ZEROED].psnr_change_db.mean < 0
        assert not effects[plan, TokenArm.OWN].hurts
        assert report.tokens_matter(plan)
        assert "measurably matter: ΔE2000 with them zeroed +" in report.verdict(plan)


def test_an_artist_that_ignores_its_tokens_is_found_out(frames: list[MeasuredFrame]) -> None:
    report = report_of(frames, Networks(weight=0.0))
    assert all(e.delta_e_change.mean == e.psnr_change_db.mean == 0 for e in report.effects)
    assert not report.tokens_matter(PlanSource.PREDICTED)
    assert report.verdict(PlanSource.TRUE) == "With true plans the tokens do not measurably matter."


def test_frames_that_the_predicted_plan_leaves_alone_are_measured_with_the_true_plan_only(
    frames: list[MeasuredFrame],
) -> None:
    report = report_of(frames, Networks(weight=1.0, exposure_ev=0.0))
    assert {frame.plan for frame in report.frames} == {PlanSource.TRUE}
    assert len(report.frames) == report.measured
    assert "never ran" in report.verdict(PlanSource.PREDICTED)


def test_the_true_plan_is_carried_out_whatever_the_gate_says(frames: list[MeasuredFrame]) -> None:
    networks = Networks(weight=0.0)
    networks.gate = GateSettings.uniform(presence=1, confidence=1, dead_zone=4, shrink=0)
    report = report_of(frames, networks)
    assert {frame.plan for frame in report.frames} == {PlanSource.TRUE}


def test_shuffled_tokens_are_those_of_another_photo(frames: list[MeasuredFrame]) -> None:
    report = report_of(frames, Networks(weight=1.0))
    assert all(f.arms[TokenArm.SHUFFLED] != f.arms[TokenArm.OWN] for f in report.frames)
    with pytest.raises(ConfigError, match="at least two photos"):
        list(ablate(frames[:1], TokenAblation(Networks(1.0), threads=1), seed=0))


def test_a_report_survives_json_and_incomplete_frames_are_refused(frames: list[MeasuredFrame]) -> None:
    report = report_of(frames, Networks(weight=1.0))
    again = result_of(report.model_dump_json(), BridgeReport)
    assert again == report
    assert again.effects == report.effects
    lines = bridge_table(report).splitlines()
    assert len(lines) == 2 + 6
    assert len({line.count("|") for line in lines}) == 1
    lame = BridgeFrame(photo="a", repeat=0, plan=PlanSource.TRUE, arms={TokenArm.OWN: ArmFigures(delta_e=1, psnr_db=9)})
    with pytest.raises(ValueError, match="every kind of tokens"):
        BridgeReport(**{**report.model_dump(exclude={"effects"}), "frames": (lame,)})


def test_the_tokens_of_a_frame_are_the_critics(frames: list[MeasuredFrame]) -> None:
    ablation = TokenAblation(Networks(1.0), threads=1)
    first, second = ablation.tokens(frames[0]), ablation.tokens(frames[1])
    assert first.shape == (1, TOKENS, TOKEN_DIM)
    assert not np.array_equal(first, second)
