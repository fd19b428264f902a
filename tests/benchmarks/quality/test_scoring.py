"""The score's ranking, on pairs whose order is known."""

from collections.abc import Callable

import pytest

from pocketcrafter.benchmarks.common.names import FrameKind
from pocketcrafter.benchmarks.quality.pictures import FrameQuality
from pocketcrafter.benchmarks.quality.results import score_qualities, score_srcc

Make = Callable[..., FrameQuality]


def test_pairs_are_counted_within_their_frame_and_only_improved_ones_for_the_second_figure(frame_quality: Make) -> None:
    frames = [
        frame_quality(scores=(40, 60, 80, 30), delta_e=(10, 5)),
        frame_quality(scores=(40, 30, 80, 30), delta_e=(10, 5)),
        # Made worse: whatever it scores does not count.
        frame_quality(scores=(40, 90, 30, 30), delta_e=(10, 15)),
        # A tie is not above.
        frame_quality(scores=(40, 40, 40, 30), delta_e=(10, 10)),
    ]
    degraded = score_qualities(frames)[FrameKind.DEGRADED]
    assert (degraded.pairs, degraded.improved) == (4, 2)
    assert degraded.clean_above_degraded == degraded.enhanced_above_degraded == 0.5


def test_clean_frames_are_no_pairs_and_nothing_improved_is_no_figure(frame_quality: Make) -> None:
    scores = score_qualities([frame_quality(FrameKind.CLEAN), frame_quality(FrameKind.NOISE)])
    assert set(scores) == {FrameKind.NOISE}
    assert scores[FrameKind.NOISE].enhanced_above_degraded is None


def test_srcc_knows_order_alone_and_only_degraded_and_clean_frames(frame_quality: Make) -> None:
    said, true = (10, 20, 30, 90), (1, 2, 3, 4)
    frames = [frame_quality(scores=(s, s, 99, t)) for s, t in zip(said, true, strict=True)]
    assert score_srcc(frames) == pytest.approx(1)
    assert score_srcc([*frames, frame_quality(FrameKind.NOISE, scores=(0, 0, 0, 100))]) == pytest.approx(1)
    assert score_srcc([frame_quality(scores=(100 - s, s, 99, s)) for s in said]) == pytest.approx(-1)
    assert score_srcc([frame_quality()] * 3) is None
