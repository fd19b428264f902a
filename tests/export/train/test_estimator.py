"""The estimator learns from small frames that look like the stored ones, and what it says of these is kept."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pocketcrafter.export.data.noise import load_noise_models
from pocketcrafter.export.data.realism import load_realism
from pocketcrafter.export.data.sampling import cut_square, degrade_small, draw_frame
from pocketcrafter.export.data.sources import NOISE_FILE
from pocketcrafter.export.models.critic import FIXED_DIM, FORESEEABLE, VECTOR_DIM, Critic
from pocketcrafter.export.models.estimator import ESTIMATED, ESTIMATES, SMALL_VIEW_PX, Estimator
from pocketcrafter.export.train.estimates import estimates_of
from pocketcrafter.export.train.estimator import EstimatorTask, SmallFrames
from pocketcrafter.export.train.evidence import FRAME_PX, EvidenceStore, to_batch
from pocketcrafter.export.train.fit import FitSettings, fit
from pocketcrafter.runtime.plan import TONAL, Attribute
from pocketcrafter.runtime.pocket import CROP_PX, CROPS


def test_a_small_frame_is_what_the_frame_looks_like_small(photos: list[Path], camera_data: Path) -> None:
    noise, realism = load_noise_models(camera_data / NOISE_FILE), load_realism(camera_data)
    photo = np.asarray(Image.open(photos[0]).convert("RGB"))
    errors = []
    for seed in range(12):
        large = draw_frame(photo, FRAME_PX, np.random.default_rng(seed), noise, realism=realism)
        rng = np.random.default_rng(seed)
        clean = cut_square(photo, SMALL_VIEW_PX, rng, smallest_px=FRAME_PX)
        little = degrade_small(clean, SMALL_VIEW_PX / FRAME_PX, rng, noise, realism)
        assert little.plan == large.plan
        assert little.degraded.shape == (SMALL_VIEW_PX, SMALL_VIEW_PX, 3)
        reduced = cv2.resize(large.degraded, (SMALL_VIEW_PX, SMALL_VIEW_PX), interpolation=cv2.INTER_AREA)
        errors.append(np.abs(reduced.astype(int) - little.degraded).mean())
    assert np.median(errors) < 2, "in levels of 255"
    assert max(errors) < 10, "noise that clips, sharpening and JPEG are not small ones"


def test_it_learns_the_amounts_of_what_it_sees(
    photos: list[Path], camera_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pocketcrafter.export.train.estimator._MEASURED_FRAMES", 48)
    torch.manual_seed(0)
    settings = FitSettings(steps=12, batch=12, learning_rate=1e-3, warmup=1)
    frames = SmallFrames(photos, camera_data)
    task = EstimatorTask(Estimator(), frames, settings, torch.device("cpu"))
    losses: list[float] = []
    model = fit(task, settings, tmp_path, lambda _step, parts: losses.append(parts["amounts"]))
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
    assert isinstance(model, Estimator)
    assert float(model.spread.min()) > 0
    assert (model.center != 0).any()


def test_estimates_of_stored_frames_are_the_estimators(store: EvidenceStore) -> None:
    torch.manual_seed(1)
    estimator = Estimator()
    said = estimates_of(estimator, store, np.arange(len(store)))
    assert said.shape == (len(store), ESTIMATES)
    with torch.no_grad():
        alone = estimator(to_batch(np.array(store.views[3:4])))
    np.testing.assert_allclose(said[3:4], alone, atol=1e-4)
    np.testing.assert_allclose(estimates_of(estimator, store, np.array([3])), said[3:4], atol=1e-4)


def test_frames_without_some_photos_show_none_of_them(photos: list[Path], camera_data: Path) -> None:
    frames = SmallFrames(photos, camera_data)
    left_out = np.arange(len(photos)) != 1
    few = frames.without(left_out)
    alone = SmallFrames(photos[1:2], camera_data)
    views, _ = few.draw(4, np.random.default_rng(0))
    assert few.photos[0] is frames.photos[0], "photos must be in memory once"
    assert views.shape == (4, 3, SMALL_VIEW_PX, SMALL_VIEW_PX)
    again, _ = alone.draw(4, np.random.default_rng(0))
    torch.testing.assert_close(views, again)


def test_a_mosaic_shows_parts_of_two_or_three_photos(tmp_path: Path, camera_data: Path) -> None:
    levels = (30, 90, 150, 210)
    for level in levels:
        Image.new("RGB", (600, 520), (level,) * 3).save(tmp_path / f"{level}.png")
    frames = SmallFrames(sorted(tmp_path.glob("*.png")), camera_data)
    rng = np.random.default_rng(0)
    mosaics = [frames._mosaic(rng) for _ in range(64)]
    assert {m.shape for m in mosaics} == {(SMALL_VIEW_PX, SMALL_VIEW_PX, 3)}
    assert {len(np.unique(m)) for m in mosaics} == {1, 2, 3}, "one where the same photo is drawn again"
    assert set(np.unique(mosaics)) == set(levels)
    assert min(np.mean(m == m[0, 0]) for m in mosaics) < 0.5 < max(np.mean(m == m[0, 0]) for m in mosaics)


def test_a_critics_judgement_of_stored_frames_is_its_own(store_folder: Path, backbone: dict[str, Tensor]) -> None:
    torch.manual_seed(2)
    critic, frames = Critic().eval(), EvidenceStore.open(store_folder)
    critic.evidence.backbone.take(backbone)
    whole = frames.with_estimates(estimates_of(critic.evidence.estimator, frames, np.arange(len(frames))))
    view = to_batch(np.array(frames.views[:1]))
    with torch.no_grad():
        seen = critic.evidence(view, torch.rand(CROPS, 3, CROP_PX, CROP_PX))
    of_crops = slice(critic.evidence.view_statistics.features, FIXED_DIM)
    assert seen.shape[1] == whole.vectors.shape[1] == VECTOR_DIM
    assert not np.allclose(seen[0, of_crops], whole.vectors[0, of_crops]), "the crops are others"
    np.testing.assert_allclose(seen[0, FIXED_DIM:], whole.vectors[0, FIXED_DIM:], atol=1e-4)


def test_what_it_estimates_stands_in_the_plans_order() -> None:
    places = [list(Attribute).index(a) for a in ESTIMATED]
    assert places == sorted(places)
    assert set(ESTIMATED) == set(FORESEEABLE) & set(TONAL)
