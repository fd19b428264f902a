"""Every fault occurs among calibration frames, either way, little and much, and so do frames without any."""

import numpy as np
import pytest

from pocketcrafter.export.calibration import CLEAN, SENSOR, covered, strata_of, stratified_faults
from pocketcrafter.export.data.sampling import Focus, draw_faults
from pocketcrafter.runtime.plan import EditPlan


def test_a_plan_lies_in_a_stratum_for_each_fault() -> None:
    assert strata_of(EditPlan()) == (CLEAN,)
    plan = EditPlan(exposure_ev=2.0, contrast=-0.25, denoise=0.3)
    assert strata_of(plan) == ("exposure_ev + much", "contrast - little", "denoise + little")


@pytest.mark.parametrize("seed", range(4))
def test_32_frames_cover_all_that_can_be_drawn(seed: int) -> None:
    counts = covered(f.plan for f in stratified_faults(32, seed, Focus.EVERYTHING, [SENSOR]))
    assert len(counts) == 1 + 7 * 4 + 4 * 2
    assert not [name for name, count in counts.items() if count == 0]
    rngs = (np.random.default_rng([seed, index]) for index in range(32))
    plain = covered(draw_faults(rng, [SENSOR]).plan for rng in rngs)
    assert [name for name, count in plain.items() if count == 0], "without strata some are missed"
    assert max(counts.values()) <= max(plain.values())


def test_restoration_has_each_of_its_faults_little_and_much() -> None:
    counts = covered(f.plan for f in stratified_faults(24, 0, Focus.RESTORATION, [SENSOR]))
    wanted = [f"{name} + {amount}" for name in ("denoise", "deblur", "dejpeg") for amount in ("little", "much")]
    assert min(counts[name] for name in wanted) >= 2
    assert counts[CLEAN] >= 1


def test_few_frames_are_the_first_of_many() -> None:
    few, many = (stratified_faults(count, 3, Focus.EVERYTHING, [SENSOR]) for count in (5, 9))
    assert [f.plan for f in few] == [f.plan for f in many[:5]]
