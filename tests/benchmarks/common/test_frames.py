"""The measured frames are the same every time, and each kind has its own fault and no other."""

from pathlib import Path

import numpy as np
import pytest

from pocketcrafter.benchmarks.common.frames import FrameKey, MeasuredFrame, frame_keys, measured_frames
from pocketcrafter.benchmarks.common.names import FrameKind
from pocketcrafter.runtime.plan import Attribute


@pytest.fixture(scope="module")
def frames(photos: list[Path], noise_profiles: Path) -> list[MeasuredFrame]:
    return list(measured_frames(photos[:2], noise_profiles, list(FrameKind), per_photo=2, seed=9))


def test_every_photo_gives_each_kind_as_often_as_asked(frames: list[MeasuredFrame], photos: list[Path]) -> None:
    counts = {(m.photo, m.kind): 0 for m in frames}
    for measured in frames:
        counts[measured.photo, measured.kind] += 1
        assert measured.frame.degraded.shape == measured.frame.clean.shape == (512, 512, 3)
    assert set(counts) == {(p.name, k) for p in photos[:2] for k in FrameKind}
    assert set(counts.values()) == {2}


def test_the_same_arguments_give_the_same_frames(
    frames: list[MeasuredFrame], photos: list[Path], noise_profiles: Path
) -> None:
    again = measured_frames(photos[:2], noise_profiles, list(FrameKind), per_photo=2, seed=9)
    for first, second in zip(frames, again, strict=True):
        assert (first.kind, first.photo, first.frame.plan) == (second.kind, second.photo, second.frame.plan)
        np.testing.assert_array_equal(first.frame.degraded, second.frame.degraded)


def test_a_frame_does_not_depend_on_the_other_kinds_measured(
    frames: list[MeasuredFrame], photos: list[Path], noise_profiles: Path
) -> None:
    alone = list(measured_frames(photos[:1], noise_profiles, [FrameKind.JPEG], per_photo=1, seed=9))
    among = next(m for m in frames if m.kind is FrameKind.JPEG)
    np.testing.assert_array_equal(alone[0].frame.degraded, among.frame.degraded)


def test_only_wanted_frames_are_made_each_as_it_is_among_all(
    frames: list[MeasuredFrame], photos: list[Path], noise_profiles: Path
) -> None:
    keys = frame_keys(photos[:2], list(FrameKind), per_photo=2)
    assert [FrameKey(m.photo, m.kind, m.repeat) for m in frames] == keys
    wanted = {keys[3], keys[20]}
    some = list(measured_frames(photos[:2], noise_profiles, list(FrameKind), per_photo=2, seed=9, wanted=wanted))
    for measured, expected in zip(some, (frames[3], frames[20]), strict=True):
        assert measured.frame.plan == expected.frame.plan
        np.testing.assert_array_equal(measured.frame.degraded, expected.frame.degraded)


def test_each_kind_has_its_fault_and_no_other(frames: list[MeasuredFrame]) -> None:
    fault = {
        FrameKind.NOISE: Attribute.DENOISE,
        FrameKind.JPEG: Attribute.DEJPEG,
        FrameKind.DEFOCUS: Attribute.DEBLUR,
        FrameKind.MOTION: Attribute.DEBLUR,
        FrameKind.HAZE: Attribute.DEHAZE,
    }
    for measured in frames:
        plan = measured.frame.plan
        active = {a for a in Attribute if plan.is_active(a)}
        if measured.kind is FrameKind.CLEAN:
            assert not active
            assert np.abs(measured.frame.degraded.astype(int) - measured.frame.clean).max() <= 1
        elif measured.kind is FrameKind.DEGRADED:
            assert active
        else:
            assert active == {fault[measured.kind]}
            assert 0.25 <= getattr(plan, fault[measured.kind]) <= 1
            assert not np.array_equal(measured.frame.degraded, measured.frame.clean)
