"""Training of the composition network: the frames and the loss, on photos made for it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pocketcrafter.export.models.backbone import MobileNetV2
from pocketcrafter.export.models.composition import Composition
from pocketcrafter.export.train.composition import (
    GROUP,
    MAX_TILT_DEGREES,
    RIGHT_DEGREES,
    CompositionFrames,
    CompositionTask,
    draw_group,
    learn_how_sure,
)
from pocketcrafter.export.train.fit import FitSettings
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.geometry.turn import LETTERBOX

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


def task_of(frames: CompositionFrames, backbone: dict[str, torch.Tensor]) -> CompositionTask:
    model = Composition()
    model.backbone.take(backbone)
    return CompositionTask(model, frames, backbone, SETTINGS, torch.device("cpu"))


def drawn_from(photos: list[Path], *photographers: str) -> CompositionFrames:
    return CompositionFrames(photos, photographers)


def test_drawn_views_are_what_the_runtime_shows_the_network(photos: list[Path]) -> None:
    view, inside, tilts = drawn_from(photos, "a", "b").draw(3, np.random.default_rng(0))
    assert view.shape == (3 * GROUP, 3, 256, 256)
    assert inside.shape == (3 * GROUP, 1, 256, 256)
    assert len(set(tilts.tolist())) == 3
    assert (view[(inside == 0).expand_as(view)] == LETTERBOX).all()
    again, *_ = drawn_from(photos, "a", "b").draw(3, np.random.default_rng(0))
    assert torch.equal(view, again)


def test_a_tenth_of_the_photographers_is_kept_out_of_training_and_at_least_one(tmp_path: Path) -> None:
    paths = [tmp_path / f"{color}.png" for color in ("red", "blue")]
    for path in paths:
        Image.new("RGB", (300, 300), path.stem).save(path)

    def reds(*, kept_out: bool) -> set[bool]:
        view, *_ = drawn_from(paths, "a", "b").draw(8, np.random.default_rng(1), kept_out=kept_out)
        return set((view[:, 0, 128, 128] > view[:, 2, 128, 128]).tolist())

    assert len(reds(kept_out=True)) == len(reds(kept_out=False)) == 1
    assert reds(kept_out=True) != reds(kept_out=False)
    with pytest.raises(ConfigError, match="several photographers"):
        drawn_from(paths, "a", "a")


def test_how_sure_it_is_is_how_often_it_is_right(photos: list[Path], backbone: dict[str, torch.Tensor]) -> None:
    """An untrained network is right as often as chance has it, and says so."""
    task = task_of(drawn_from(photos, "a", "b"), backbone)
    network = learn_how_sure(task)
    view, inside, tilts = task.frames.draw(60, np.random.default_rng(3), kept_out=True)
    with torch.no_grad():
        tilt, confidence, _ = network(view, inside)
    right = ((tilt.flatten() - tilts).abs() < RIGHT_DEGREES).float().mean().item()
    assert confidence.mean().item() == pytest.approx(right, abs=0.12)


def test_backbone_and_heads_learn_and_the_loss_falls(photos: list[Path], backbone: dict[str, torch.Tensor]) -> None:
    task = task_of(drawn_from(photos, "a", "b"), backbone)
    trained = {id(p) for _, group in task.parameter_groups() for p in group}
    fixed = ("tilt.expect", "tilt.sure")
    for name, parameter in task.model.named_parameters():
        assert (id(parameter) in trained) is not name.startswith(fixed), name
    optimizer = torch.optim.Adam([p for _, group in task.parameter_groups() for p in group], 1e-3)
    losses = []
    for step in range(16):
        loss, _ = task.loss(step % 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
