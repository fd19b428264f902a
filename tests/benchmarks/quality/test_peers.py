"""Peers: each does what it is known for, and the look that is measured is the one that the ranking chose."""

from typing import Any

import numpy as np

from pocketcrafter.benchmarks.common.frames import MeasuredFrame
from pocketcrafter.benchmarks.quality.peers import (
    BEST_LOOK,
    autocontrast,
    gray_world_clahe,
    installed_peers,
    pilgram_looks,
    rank_looks,
)
from pocketcrafter.export.data.degrade import ByteImage
from pocketcrafter.runtime.render import srgb_to_linear


def test_every_peer_gives_a_picture_of_the_same_shape_and_leaves_its_input_alone(ramp: ByteImage) -> None:
    before = ramp.copy()
    for name, peer in installed_peers().items():
        picture = peer(ramp)
        assert (picture.shape, picture.dtype) == (ramp.shape, np.uint8), name
        assert not np.array_equal(picture, ramp), name
    np.testing.assert_array_equal(ramp, before)


def test_autocontrast_fills_the_range(ramp: ByteImage) -> None:
    picture = autocontrast(ramp)
    assert (picture.min((0, 1)) == 0).all()
    assert (picture.max((0, 1)) == 255).all()


def test_gray_world_takes_a_cast_away(ramp: ByteImage) -> None:
    def imbalance(picture: ByteImage) -> float:
        means = srgb_to_linear(picture.astype(np.float32) / np.float32(255)).mean((0, 1))
        return float(np.ptp(means) / means.mean())

    assert imbalance(gray_world_clahe(ramp)) < 0.3 * imbalance(ramp)


def test_looks_are_ranked_by_what_they_do_to_the_color_error(frames: list[MeasuredFrame]) -> None:
    answers = {m.frame.degraded.tobytes(): m.frame.clean for m in frames}
    looks: dict[str, Any] = {"negative": lambda p: 255 - p, "truth": lambda p: answers[p.tobytes()], "copy": np.copy}
    ranked = rank_looks(frames[:2], looks)
    assert [look.name for look in ranked] == ["truth", "copy", "negative"]
    assert ranked[1].delta_e_change == 0


def test_the_chosen_look_is_one_of_pilgrams() -> None:
    looks = pilgram_looks()
    assert BEST_LOOK in looks
    assert len(looks) == 26
    assert f"pilgram {BEST_LOOK}" in installed_peers()
