"""Calibration samples are what the networks are fed: real photos, in the contract's shapes and ranges."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pocketcrafter.export.calibration import samples
from pocketcrafter.export.models import MODELS, save_component
from pocketcrafter.export.names import TOKENIZER
from pocketcrafter.export.shipped import CALIBRATION_PHOTOS, WEIGHTS
from pocketcrafter.quantize.algorithms.hessians import HessianCollector
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.plan import Attribute, EditPlan
from pocketcrafter.runtime.pocket import POCKET_SPECS, Pocket
from pocketcrafter.runtime.render import render


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    for component in (Pocket.CRITIC, Pocket.DECODER):
        save_component(MODELS[component](), folder / f"{component}.safetensors")
    shutil.copy(WEIGHTS / TOKENIZER, folder)
    return folder


@pytest.mark.parametrize("component", Pocket)
def test_samples_keep_the_contract(component: str, photos: list[Path], weights: Path) -> None:
    made = samples(component, photos, weights, count=4, seed=1)
    assert len(made) == 4
    for sample in made:
        assert tuple(sample) == tuple(i.name for i in POCKET_SPECS[component].inputs)
        for spec in POCKET_SPECS[component].inputs:
            array = sample[spec.name]
            assert array.shape == spec.shape
            assert array.dtype == np.float32
            assert array.flags.c_contiguous
            assert np.isfinite(array).all()
            assert spec.minimum is None or spec.minimum <= array.min()
            assert spec.maximum is None or array.max() <= spec.maximum


@pytest.mark.parametrize("component", Pocket)
def test_one_seed_gives_the_same_samples_and_another_gives_others(
    component: str, photos: list[Path], weights: Path
) -> None:
    first, again, other = (samples(component, photos[:1], weights, count=1, seed=seed)[0] for seed in (1, 1, 2))
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name])
    assert any(not np.array_equal(array, other[name]) for name, array in first.items())


def test_restoration_is_calibrated_with_what_it_restores(photos: list[Path], weights: Path) -> None:
    amounts = np.concatenate([s["amounts"] for s in samples(Pocket.RESTORE, photos, weights, count=30, seed=0)])
    assert (amounts.max(axis=0) > 0.5).all(), "each fault must occur"
    assert (amounts.max(axis=1) > 0).mean() > 0.6


def test_tone_is_calibrated_with_plans_as_far_as_they_go(photos: list[Path], weights: Path) -> None:
    """Guards INT8 tone of hazy, warm photos: beyond what calibration saw, a picture was 2 ΔE2000 from float32's."""
    far = list(Attribute).index(Attribute.DEHAZE)
    made = samples(Pocket.TONE, photos, weights, count=14, seed=3)
    assert [index for index, sample in enumerate(made) if sample["plan"][0, far] == np.float32(0.85)] == [6, 13]
    for sample in made[6], made[0]:
        plan = EditPlan.from_vector(sample["plan"][0])
        rendered = render(plan, sample["view"][0].transpose(1, 2, 0))
        np.testing.assert_allclose(sample["rendered"][0], rendered.transpose(2, 0, 1), atol=1e-5)


def test_the_shipped_photos_are_usable(weights: Path) -> None:
    paths = sorted(CALIBRATION_PHOTOS.glob("*.jpg"))
    assert len(paths) >= 8
    assert len(samples(Pocket.CRITIC, paths, weights, count=len(paths), seed=0)) == len(paths)


def test_no_photo_or_a_small_one_is_refused_by_name(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs photos"):
        samples(Pocket.CRITIC, [], weights, count=1, seed=0)
    small = tmp_path / "small.png"
    Image.new("RGB", (600, 511)).save(small)
    with pytest.raises(ConfigError, match=r"small\.png.*512"):
        samples(Pocket.CRITIC, [small], weights, count=1, seed=0)


def test_the_decoder_is_calibrated_with_tokens_and_words(photos: list[Path], weights: Path) -> None:
    """A range read from words alone would leave the plan tokens none: the prose would be about nothing."""
    collector = HessianCollector()
    made = samples(Pocket.DECODER, photos[:1], weights, count=8, seed=0, collector=collector)
    assert sum(sample["soft"].any() for sample in made) == 1
    assert sum(sample["word"].any() for sample in made) == 7
    hessians = collector.hessians()
    assert hessians["word"].diagonal().sum() > 0.5
    assert hessians["soft"].diagonal().sum() > 0
    assert {"logits", "blocks.0.query", "blocks.3.down"} <= set(hessians)


@pytest.mark.parametrize("content", [b"", b"no photo", "half"])
def test_a_broken_calibration_photo_is_named(
    photos: list[Path], weights: Path, tmp_path: Path, content: bytes | str
) -> None:
    broken = tmp_path / "broken.jpg"
    whole = photos[0].read_bytes()
    broken.write_bytes(whole[: len(whole) // 2] if isinstance(content, str) else content)
    with pytest.raises(ConfigError, match=r"broken\.jpg: this calibration photo cannot be read"):
        samples(Pocket.RESTORE, [photos[0], broken], weights, count=1, seed=0)
