"""Quality figures: known values for known changes, and nothing gained by doing nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pocketcrafter.benchmarks.frames import FrameKind, MeasuredFrame, measured_frames
from pocketcrafter.benchmarks.quality import (
    GATES,
    ByteImage,
    KindQuality,
    delta_e,
    measure,
    missed_gates,
    psnr_db,
    summarize,
    table,
)
from pocketcrafter.export.data.degrade import Frame
from pocketcrafter.runtime.plan import EditPlan


@pytest.fixture(scope="module")
def frames(photos: list[Path], noise_profiles: Path) -> list[MeasuredFrame]:
    """Corners of real frames, as ΔE2000 and SSIM of whole ones take long."""
    kinds = [FrameKind.DEGRADED, FrameKind.CLEAN, FrameKind.NOISE]
    whole = measured_frames(photos[:2], noise_profiles, kinds, per_photo=1, seed=1)
    return [replace(measured, frame=corner(measured.frame)) for measured in whole]


def corner(frame: Frame) -> Frame:
    pictures = (picture[:192, :192] for picture in (frame.degraded, frame.tonal, frame.clean))
    return Frame(*pictures, plan=frame.plan)


@pytest.fixture(scope="module")
def untouched(frames: list[MeasuredFrame]) -> dict[FrameKind, KindQuality]:
    """Figures of doing nothing."""
    return summarize(measure(frames, lambda picture: (picture, EditPlan())))


def flat(*color: int) -> ByteImage:
    return np.full((32, 32, 3), color, dtype=np.uint8)


def test_psnr_has_the_8_bit_range_and_ends_at_100() -> None:
    assert psnr_db(flat(100, 100, 100), flat(110, 110, 110)) == pytest.approx(20 * np.log10(255 / 10))
    assert psnr_db(flat(0, 0, 0), flat(255, 255, 255)) == pytest.approx(0)
    assert psnr_db(flat(7, 8, 9), flat(7, 8, 9)) == 100


def test_delta_e_is_that_of_published_colors() -> None:
    assert delta_e(flat(0, 0, 0), flat(255, 255, 255)) == pytest.approx(100, abs=0.01)
    assert delta_e(flat(50, 60, 70), flat(50, 60, 70)) == 0
    # sRGB red and green, as CIEDE2000 calculators give it.
    assert delta_e(flat(255, 0, 0), flat(0, 255, 0)) == pytest.approx(86.6, abs=0.1)


def test_doing_nothing_gains_nothing(untouched: dict[FrameKind, KindQuality]) -> None:
    assert set(untouched) == {FrameKind.DEGRADED, FrameKind.CLEAN, FrameKind.NOISE}
    for kind, of_kind in untouched.items():
        assert of_kind.frames == 2
        assert of_kind.psnr_gain_db == of_kind.ssim_gain == of_kind.delta_e_change == 0
        assert of_kind.better_share == of_kind.worse_share == 0
        assert of_kind.unchanged_share == (kind is FrameKind.CLEAN)
    missed = "\n".join(missed_gates(untouched))
    assert [str(gate) in missed for gate in GATES] == [True, True, False, False, True]


def test_the_truth_gains_everything(frames: list[MeasuredFrame]) -> None:
    answers = {m.frame.degraded.tobytes(): m.frame for m in frames}

    def oracle(picture: ByteImage) -> tuple[ByteImage, EditPlan]:
        frame = answers[picture.tobytes()]
        return frame.clean, frame.plan

    measured = measure(frames, oracle)
    assert all(q.psnr_after_db == 100 and q.ssim_after == pytest.approx(1) and q.delta_e_after == 0 for q in measured)
    assert all(q.plan == q.true_plan for q in measured)
    figures = summarize(measured)
    assert figures[FrameKind.DEGRADED].better_share == 1
    assert figures[FrameKind.DEGRADED].delta_e_change == -figures[FrameKind.DEGRADED].delta_e_before
    assert not missed_gates(figures)


def test_harm_is_counted_as_harm(frames: list[MeasuredFrame]) -> None:
    figures = summarize(measure(frames, lambda picture: (255 - picture, EditPlan())))
    for of_kind in figures.values():
        assert of_kind.worse_share == 1
        assert of_kind.unchanged_share == 0
        assert of_kind.psnr_gain_db < 0 < of_kind.delta_e_change
    assert len(missed_gates(figures)) == len(GATES)


def test_kinds_that_were_not_measured_are_not_judged(untouched: dict[FrameKind, KindQuality]) -> None:
    assert missed_gates(untouched)
    assert missed_gates({FrameKind.CLEAN: untouched[FrameKind.CLEAN]}) == []


def test_the_table_has_a_row_a_kind_and_as_many_cells_in_each(untouched: dict[FrameKind, KindQuality]) -> None:
    lines = table(untouched).splitlines()
    assert len(lines) == 2 + 3
    assert len({line.count("|") for line in lines}) == 1
    assert lines[3].startswith("| clean | 2 |")
