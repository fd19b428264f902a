"""The store of frames is resumable, does not depend on processes, and keeps to its configuration."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pocketcrafter.export.data.degrade import Faults, degrade
from pocketcrafter.export.data.noise import NoiseModel
from pocketcrafter.export.models.critic import Evidence
from pocketcrafter.export.train.evidence import EvidenceStore, build_store, critic_inputs, photo_score, to_batch
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.plan import EditPlan
from pocketcrafter.runtime.views import global_view, native_crops

FRAMES, SEED = 24, 5


class Interrupted(Exception):  # noqa: N818 - what happens, not an error
    """Ctrl-C, in effect."""


def test_an_interrupted_build_goes_on_and_gives_the_same_frames_in_one_process_as_in_two(
    photos: list[Path], camera_data: Path, backbone: dict[str, Tensor], store_folder: Path, tmp_path: Path
) -> None:
    def build(seen: list[int], *, interrupt: bool) -> None:
        def on_progress(frames: int) -> None:
            seen.append(frames)
            if interrupt and sum(seen) > 0:
                raise Interrupted

        build_store(tmp_path, photos, camera_data, backbone, FRAMES, SEED, on_progress, processes=1)

    first: list[int] = []
    with pytest.raises(Interrupted):
        build(first, interrupt=True)
    second: list[int] = []
    build(second, interrupt=False)
    assert first[0] == 0
    assert second[0] == sum(first) < FRAMES, "what was made must be kept, and the interruption come before the end"
    assert sum(second) == FRAMES
    resumed, whole = EvidenceStore.open(tmp_path), EvidenceStore.open(store_folder)
    for field in fields(EvidenceStore):
        np.testing.assert_array_equal(getattr(resumed, field.name), getattr(whole, field.name), field.name)


def test_a_finished_store_is_opened_as_it_is(
    photos: list[Path], camera_data: Path, backbone: dict[str, Tensor], store_folder: Path
) -> None:
    seen: list[int] = []
    opened = build_store(store_folder, photos, camera_data, backbone, FRAMES, SEED, seen.append)
    assert seen == [FRAMES]
    assert len(opened) == FRAMES


@pytest.mark.parametrize("change", ["frames", "seed", "photos", "backbone", "damage"])
def test_another_configuration_is_refused_and_nothing_is_touched(
    photos: list[Path], camera_data: Path, backbone: dict[str, Tensor], tmp_path: Path, change: str
) -> None:
    stored = tmp_path / "store.json"
    build_store(tmp_path, photos, camera_data, backbone, 0, SEED)
    other = {**backbone, "stem.0.bias": backbone["stem.0.bias"] + 1} if change == "backbone" else backbone
    if change == "damage":
        stored.write_text('{"frames": 0')
    before = stored.read_bytes()
    with pytest.raises(ConfigError, match="another configuration"):
        build_store(
            tmp_path,
            photos[1:] if change == "photos" else photos,
            camera_data,
            other,
            1 if change == "frames" else 0,
            SEED + (change == "seed"),
        )
    assert stored.read_bytes() == before


def test_frames_are_degraded_photos_with_their_plans_and_scores(store: EvidenceStore) -> None:
    clean = ~(store.plans != 0).any(1)
    assert 0 < clean.sum() < FRAMES / 2
    assert set(np.unique(store.photos)) == {0, 1, 2}
    errors = np.abs(store.views.astype(int) - store.cleans).mean((1, 2, 3))
    assert errors[clean].max() < 1
    assert errors[~clean].mean() > 5
    np.testing.assert_allclose(store.scores[clean], 1, atol=0.01)
    assert (store.scores[~clean] < 0.99).all()
    assert np.isfinite(store.vectors).all()


def test_evidence_is_the_critics(store: EvidenceStore, backbone: dict[str, Tensor]) -> None:
    """The view is enough to know what the vector says of the whole photo."""
    evidence = Evidence().eval()
    evidence.backbone.take(backbone)
    of_view = evidence.view_statistics.features
    with torch.inference_mode():
        statistics = evidence.view_statistics(to_batch(np.array(store.views[:2])))
    np.testing.assert_allclose(store.vectors[:2, :of_view], statistics, rtol=1e-4, atol=1e-5)
    assert (store.vectors.std(0)[of_view:] > 0).mean() > 0.9


def test_training_sees_what_the_pipeline_sees() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    view, crops = critic_inputs(frame)
    # Training keeps its views in 8 bits.
    np.testing.assert_allclose(to_batch(view[None]).numpy(), global_view(frame), atol=0.51 / 255)
    np.testing.assert_array_equal(to_batch(crops).numpy(), native_crops(frame))


def test_the_score_falls_with_every_fault() -> None:
    rng = np.random.default_rng(0)
    clean = np.kron(rng.integers(40, 200, (8, 8, 3)), np.ones((64, 64, 1))).astype(np.uint8)
    sensor = NoiseModel((4e-3, 2e-3, 3e-3), (2e-5, 2e-5, 2e-5))

    def score(plan: EditPlan) -> float:
        noise = sensor.scaled_to(0.08 * plan.denoise) if plan.denoise else None
        return photo_score(degrade(clean, Faults(plan, noise=noise), np.random.default_rng(1)))

    assert score(EditPlan()) == pytest.approx(1, abs=0.02)
    for name in ("exposure_ev", "temperature_mired", "saturation", "dehaze", "denoise", "deblur", "dejpeg"):
        slight, strong = ({name: amount * (80 if "mired" in name else 1)} for amount in (0.3, 0.9))
        assert score(EditPlan()) > score(EditPlan(**slight)) > score(EditPlan(**strong)), name
