"""Means of pictures: nothing gained by doing nothing, everything by the truth, and harm counted as harm."""

from typing import Any

import numpy as np
import pytest

from pocketcrafter.benchmarks.common.frames import MeasuredFrame
from pocketcrafter.benchmarks.common.names import FrameKind
from pocketcrafter.benchmarks.common.picture_metrics import PictureFigures
from pocketcrafter.benchmarks.quality.pictures import FrameQuality, KindQuality, measure, summarize


def qualities(frames: list[MeasuredFrame], subject: Any, **more: Any) -> list[FrameQuality]:
    return [outcome.quality for outcome in measure(frames, subject, **more)]


def test_doing_nothing_gains_nothing(frames: list[MeasuredFrame], idle: Any) -> None:
    figures = summarize(qualities(frames, idle))
    assert set(figures) == {FrameKind.DEGRADED, FrameKind.CLEAN, FrameKind.NOISE}
    for kind, of_kind in figures.items():
        assert of_kind.frames == 2
        assert of_kind.psnr_gain_db == of_kind.ssim_gain == of_kind.delta_e_change == 0
        assert of_kind.better_share == of_kind.worse_share == 0
        assert of_kind.unchanged_share == (kind is FrameKind.CLEAN)
        assert of_kind.feature_distance_change is None


def test_the_truth_gains_everything(frames: list[MeasuredFrame], oracle: Any) -> None:
    measured = qualities(frames, oracle)
    perfect = PictureFigures(psnr_db=100, ssim=1, delta_e=0)
    for frame in measured:
        assert frame.after.model_dump() == pytest.approx(perfect.model_dump(), nan_ok=False)
        assert frame.plan == frame.true_plan
    degraded = summarize(measured)[FrameKind.DEGRADED]
    assert degraded.better_share == 1
    assert degraded.delta_e_change == -degraded.delta_e_before


def test_harm_is_counted_as_harm(frames: list[MeasuredFrame], inverter: Any) -> None:
    for of_kind in summarize(qualities(frames, inverter)).values():
        assert of_kind.worse_share == 1
        assert of_kind.unchanged_share == 0
        assert of_kind.psnr_gain_db < 0 < of_kind.delta_e_change


def test_a_frame_that_was_left_alone_keeps_its_score_and_one_that_was_not_gets_its_own(
    frames: list[MeasuredFrame], idle: Any, inverter: Any
) -> None:
    for outcome in measure(frames[:1], idle):
        assert outcome.quality.scores.enhanced == outcome.quality.scores.degraded == idle.fixed
    for outcome in measure(frames[:1], inverter):
        assert outcome.quality.scores.enhanced == inverter.score(outcome.enhanced)
        assert outcome.quality.scores.clean == inverter.score(outcome.measured.frame.clean)


def test_a_peer_is_measured_on_the_same_frames_with_the_same_figures(frames: list[MeasuredFrame], idle: Any) -> None:
    measured = qualities(frames, idle, peers={"negative": lambda p: 255 - p, "copy": np.copy})
    ours, copy = (summarize(measured, peer) for peer in (None, "copy"))
    assert {k: _without_time(q) for k, q in copy.items()} == {k: _without_time(q) for k, q in ours.items()}
    assert all(q.worse_share == 1 for q in summarize(measured, "negative").values())
    assert all(frame.peers["copy"].seconds > 0 for frame in measured)


def _without_time(quality: KindQuality) -> dict[str, Any]:
    return quality.model_dump(exclude={"seconds"})
