"""Training of the composition network: the stored frames and the loss, on photos made for it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pocketcrafter.export.models.backbone import MobileNetV2
from pocketcrafter.export.train.composition import GROUP, MAX_TILT_DEGREES, CompositionTask, build_frames, draw_group
from pocketcrafter.export.train.fit import FitSettings
from pocketcrafter.runtime.errors import ConfigError

SETTINGS = FitSettings(steps=4, batch=2, learning_rate=1e-3)


@pytest.fixture(scope="module")
def backbone() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return MobileNetV2().state_dict()


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = []
    for index in range(2):
        pixels = np.full((300, 420, 3), 60 + 40 * index, np.uint8)
        pixels[170:] = 220
        paths.append(tmp_path / f"{index}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def test_a_group_has_one_tilt_and_one_size_and_only_its_first_frame_is_centered() -> None:
    working = np.random.default_rng(0).integers(100, 256, (300, 420, 3), dtype=np.uint8)
    for seed in range(20):
        frames = draw_group(working, np.random.default_rng(seed))
        assert len(frames) == GROUP
        assert len({f.tilt_degrees for f in frames}) == 1
        assert abs(frames[0].tilt_degrees) <= MAX_TILT_DEGREES
        sizes = np.array([f.pixels.shape[:2] for f in frames])
        # Boxes are rounded to pixels at both ends.
        assert np.ptp(sizes, axis=0).max() <= 1
        assert frames[0].shift == (0, 0)
        assert all(max(map(abs, f.shift)) >= 0.5 for f in frames[1:])
        assert all(f.pixels.min() > 0 for f in frames), "an empty corner is black however it is lit"


def test_an_interrupted_store_goes_on_and_gives_the_same_frames(
    photos: list[Path], backbone: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    whole = build_frames(tmp_path / "whole", photos, backbone, 3, seed=5)

    def stop(made: int) -> None:
        if made:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_frames(tmp_path / "cut", photos, backbone, 3, 5, stop)
    assert np.load(tmp_path / "cut" / "done.npy").sum() == 1
    resumed = build_frames(tmp_path / "cut", photos, backbone, 3, 5)
    for name in ("profiles", "features", "tilts", "shifts", "photos"):
        assert np.array_equal(getattr(whole, name), getattr(resumed, name))
    with pytest.raises(ConfigError, match="another configuration"):
        build_frames(tmp_path / "whole", photos, backbone, 3, seed=6)


def test_only_the_heads_learn_and_the_loss_falls(
    photos: list[Path], backbone: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    frames = build_frames(tmp_path / "frames", photos, backbone, 2, seed=1)
    task = CompositionTask(frames, backbone, SETTINGS, torch.device("cpu"))
    trained = {id(p) for _, group in task.parameter_groups() for p in group}
    heads = ("tilt.", "framing.")
    fixed = ("tilt.expect", "tilt.count")
    for name, parameter in task.model.named_parameters():
        learns = name.startswith(heads) and not name.startswith(fixed)
        assert (id(parameter) in trained) is learns, name
    optimizer = torch.optim.Adam([p for _, group in task.parameter_groups() for p in group], 1e-2)
    losses = []
    for step in range(30):
        loss, _ = task.loss(step % 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
