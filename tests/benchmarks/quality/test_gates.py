"""Gates: each one is missed by what is too bad, none by what was not measured."""

from collections.abc import Callable

from pocketcrafter.benchmarks.common.names import FrameKind
from pocketcrafter.benchmarks.quality.gates import PICTURE_GATES, SCORE_GATES, missed_gates
from pocketcrafter.benchmarks.quality.pictures import FrameQuality
from pocketcrafter.benchmarks.quality.results import QualitySummary
from pocketcrafter.runtime.plan import Attribute, EditPlan

Make = Callable[..., FrameQuality]
KINDS = (FrameKind.DEGRADED, FrameKind.CLEAN, FrameKind.NOISE, FrameKind.JPEG, FrameKind.DEFOCUS)


def test_a_perfect_pair_misses_nothing(frame_quality: Make) -> None:
    perfect = [frame_quality(k, psnr_db=(20, 100), delta_e=(10, 0), scores=(40, 60, 80, 40)) for k in KINDS]
    assert missed_gates(QualitySummary.of(tuple(perfect))) == []


def test_a_useless_pair_misses_every_gate(frame_quality: Make) -> None:
    useless = [frame_quality(k, psnr_db=(20, 10), delta_e=(10, 12), scores=(60, 60, 40, 40)) for k in KINDS]
    useless.append(frame_quality(delta_e=(10, 9.9), scores=(60, 50, 40, 40)))
    missed = "\n".join(missed_gates(QualitySummary.of(tuple(useless))))
    assert [str(gate) in missed for gate in (*PICTURE_GATES, *SCORE_GATES)] == [True] * 9


def test_an_attribute_that_is_made_worse_on_average_is_named(frame_quality: Make) -> None:
    good = {"psnr_db": (20, 30), "delta_e": (10, 1), "scores": (40, 60, 80, 40)}
    wrong = frame_quality(true=EditPlan(contrast=0.1), plan=EditPlan(contrast=0.4), **good)
    assert missed_gates(QualitySummary.of((wrong,))) == [
        "contrast: the carried-out plan must not be further from the truth than none, measured +0.2"
    ]
    right = frame_quality(true=EditPlan(contrast=0.8), plan=EditPlan(contrast=0.4), **good)
    assert not any("contrast" in missed for missed in missed_gates(QualitySummary.of((wrong, right))))


def test_a_critic_that_does_not_know_the_plan_is_named(frame_quality: Make) -> None:
    good = {"psnr_db": (20, 30), "delta_e": (10, 1), "scores": (40, 60, 80, 40)}
    for known, missed in ((1.0, []), (0.0, ["plan: R² of at least 0.45 asked, measured -1.00"])):
        frames = [
            frame_quality(true=EditPlan(contrast=a), amounts={Attribute.CONTRAST: a * known}, **good) for a in (0, 0.5)
        ]
        assert missed_gates(QualitySummary.of(tuple(frames))) == missed


def test_kinds_that_were_not_measured_are_not_judged(frame_quality: Make) -> None:
    clean = frame_quality(FrameKind.CLEAN, psnr_db=(100, 50))
    assert missed_gates(QualitySummary.of((clean,))) == []
