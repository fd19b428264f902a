"""Attributes: what the critic knows, and whether the carried-out plan helps, in figures worked out by hand."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketcrafter.benchmarks.common.names import FrameKind
from pocketcrafter.benchmarks.quality.pictures import FrameQuality
from pocketcrafter.benchmarks.quality.results import attribute_qualities, auroc, overall_r2
from pocketcrafter.runtime.plan import Attribute, EditPlan

Make = Callable[..., FrameQuality]
EV = Attribute.EXPOSURE


def test_figures_are_in_the_attributes_own_unit_and_as_worked_out_by_hand(frame_quality: Make) -> None:
    frames = [
        frame_quality(true=EditPlan(exposure_ev=2), plan=EditPlan(exposure_ev=1), amounts={EV: 1.5}, presences={EV: 1}),
        frame_quality(true=EditPlan(exposure_ev=-1), amounts={EV: 0.5}, presences={EV: 0.2}),
        frame_quality(FrameKind.CLEAN, plan=EditPlan(exposure_ev=-0.4), amounts={EV: -0.5}, presences={EV: 0.6}),
        frame_quality(FrameKind.CLEAN, amounts={EV: 0.0}, presences={EV: 0.1}),
    ]
    exposure = attribute_qualities(frames)[EV]
    assert (exposure.frames, exposure.present) == (4, 2)
    assert exposure.mae == pytest.approx((0.5 + 1.5 + 0.5 + 0) / 4)
    assert exposure.r2 == pytest.approx(1 - (0.25 + 2.25 + 0.25) / (5 - 4 * 0.25**2))
    assert exposure.presence_auroc == pytest.approx(3 / 4)
    assert exposure.opened == exposure.opened_wrongly == 0.5
    assert exposure.error_before == pytest.approx(3 / 4)
    assert exposure.error_change == pytest.approx((-1 + 0 + 0.4 + 0) / 4)


def test_what_cannot_be_told_is_left_open(frame_quality: Make) -> None:
    tint = attribute_qualities([frame_quality(), frame_quality(FrameKind.CLEAN)])[Attribute.TINT]
    assert tint.r2 is None
    assert tint.presence_auroc is None
    assert tint.opened is None
    assert tint.opened_wrongly == 0


def test_frames_with_a_single_fault_are_not_mixed_in(frame_quality: Make) -> None:
    noisy = frame_quality(FrameKind.NOISE, true=EditPlan(denoise=1))
    assert attribute_qualities([noisy]) == {}
    assert attribute_qualities([noisy, frame_quality()])[Attribute.DENOISE].present == 0


def test_the_overall_r2_is_the_mean_over_attributes_that_vary(frame_quality: Make) -> None:
    plans = [EditPlan(exposure_ev=1, dehaze=0.5), EditPlan(exposure_ev=-1)]
    frames = [frame_quality(true=plan, amounts={EV: plan.exposure_ev}) for plan in plans]
    attributes = attribute_qualities(frames)
    assert attributes[EV].r2 == 1
    assert attributes[Attribute.DEHAZE].r2 == pytest.approx(-1)
    assert overall_r2(attributes) == pytest.approx(0)
    assert overall_r2({}) is None


@given(
    st.lists(st.tuples(st.floats(0, 1, width=16), st.booleans()), min_size=2, max_size=30).filter(
        lambda rows: len({flag for _, flag in rows}) == 2
    )
)
def test_auroc_is_the_share_of_pairs_in_the_right_order(rows: list[tuple[float, bool]]) -> None:
    scores, flags = (np.array(column) for column in zip(*rows, strict=True))
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[flags] for n in scores[~flags]]
    assert auroc(scores, flags) == pytest.approx(np.mean(pairs))
