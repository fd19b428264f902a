"""A teacher's pictures become plans and targets; the default pair learns from a folder of labels."""

import json
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pyarrow")

import torch
from PIL import Image, ImageFilter

from pocketcrafter.export.data.degrade import Frame
from pocketcrafter.export.distill.labels.frames import LabelPatches, build_label_frames
from pocketcrafter.export.distill.labels.plans import infer_plan, restoration_amounts
from pocketcrafter.export.distill.labels.run import taught_restoration
from pocketcrafter.export.families.pocket.plan import PocketRecipe, plan
from pocketcrafter.export.labels.labeller import Job, Labeller, teacher_sha256
from pocketcrafter.export.labels.photos import hashed, shards_of
from pocketcrafter.export.labels.store import HiddenForm, LabelSettings, LabelStore, PictureForm
from pocketcrafter.export.models import critic_network, restore_network
from pocketcrafter.export.recipe import load_recipe
from pocketcrafter.export.shipped import WEIGHTS
from pocketcrafter.export.teachers.layout import read_layout
from pocketcrafter.export.teachers.systems import SystemName
from pocketcrafter.export.train.fit import FitSettings
from pocketcrafter.export.train.restore import Patches
from pocketcrafter.runtime import cli
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.plan import RESTORATION, TONAL, EditPlan
from pocketcrafter.runtime.render import render

CRITIC = WEIGHTS / "critic.safetensors"
STUDIO = WEIGHTS / "latent-studio"


@pytest.fixture(scope="module")
def photo(photos: list[Path]) -> Image.Image:
    with Image.open(photos[1]) as image:
        made = image.convert("RGB")
    made.thumbnail((256, 256))
    return made


def edited(photo: Image.Image, plan: EditPlan) -> Image.Image:
    made = render(plan, np.asarray(photo, np.float32) / 255)
    return Image.fromarray(np.rint(made * 255).astype(np.uint8))


@pytest.mark.parametrize(
    "wanted",
    [
        EditPlan(exposure_ev=0.8, temperature_mired=30, contrast=0.3),
        EditPlan(saturation=0.4, tint_mired=-20),
        EditPlan(dehaze=0.5, exposure_ev=-0.4),
        EditPlan(shadows=0.5, highlights=-0.4),
        EditPlan(),
    ],
)
def test_the_plan_behind_a_picture_is_found(photo: Image.Image, wanted: EditPlan) -> None:
    found = infer_plan(photo, edited(photo, wanted))
    assert np.abs(found.plan.vector() - wanted.vector()).max() < 0.06
    # What is not asked for is not there at all.
    assert {a for a in TONAL if getattr(found.plan, a)} == {a for a in TONAL if getattr(wanted, a)}
    assert found.plan_db > 45
    assert found.grid_db > 45
    assert not found.plan.is_active(*RESTORATION)


def test_what_no_plan_can_do_a_grid_does_and_is_told(photo: Image.Image) -> None:
    across = np.linspace(0.6, 1.3, photo.width)[None, :, None]
    picture = Image.fromarray(np.clip(np.asarray(photo) * across, 0, 255).astype(np.uint8))
    found = infer_plan(photo, picture)
    assert found.plan_db < 26
    assert found.grid_db > found.plan_db + 8
    assert found.grid_db > found.untouched_db


def test_restoration_is_what_is_left_in_the_photos_own_tones(photo: Image.Image) -> None:
    clean = edited(photo, EditPlan(exposure_ev=0.6))
    rng = np.random.default_rng(1)
    noisy = np.clip(np.asarray(photo, np.float32) + rng.normal(0, 12, np.asarray(photo).shape), 0, 255)
    found = infer_plan(Image.fromarray(noisy.astype(np.uint8)), clean)
    assert found.plan.exposure_ev == pytest.approx(0.6, abs=0.15)
    assert found.plan.denoise > 0.3
    # The target has the photo's tones, and not its noise.
    away = found.target.astype(float) - np.asarray(photo, float)
    assert np.sqrt(np.mean(away**2)) < 6
    blurred = photo.filter(ImageFilter.GaussianBlur(2))
    amounts = restoration_amounts(np.asarray(blurred), np.asarray(photo))
    assert amounts["deblur"] >= 0.5
    assert restoration_amounts(np.asarray(photo), np.asarray(photo)) == dict.fromkeys(map(str, RESTORATION), 0.0)


def label(teacher: Path, photos: Path, out: Path, **sampling: int) -> LabelStore:
    """Label without Ray."""
    layout = read_layout(teacher)
    own = replace(layout.system.sampling, **sampling)
    settings = LabelSettings(
        teacher=layout.name, teacher_sha256=teacher_sha256(layout), license=layout.system.license or "Apache-2.0",
        steps=own.steps, side=own.side, answer=own.answer, seed=0, instruction=None, hidden=HiddenForm.NONE,
        pictures=PictureForm.PNG,
    )  # fmt: skip
    store = LabelStore.make(out, settings)
    labeller = Labeller(Job(teacher=teacher, photos=photos, out=out, device="cpu", threads=1, settings=settings))
    names = [path.name for path in sorted(photos.iterdir())]
    for shard in shards_of(hashed(photos, names), set(), 8):
        outcome = labeller.label(shard)
        assert outcome.error is None
        assert outcome.labelled == len(shard.paths)
    return store


@pytest.fixture(scope="module")
def shots(photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shots")
    for path in photos[:2]:
        with Image.open(path) as image:
            image.convert("RGB").resize((300, 200)).save(folder / path.name)
    return folder


@pytest.fixture(scope="module")
def by_studio(shots: Path, tmp_path_factory: pytest.TempPathFactory) -> LabelStore:
    return label(STUDIO, shots, tmp_path_factory.mktemp("labels"))


def test_frames_are_the_photos_as_a_phone_sees_them(by_studio: LabelStore, shots: Path, tmp_path: Path) -> None:
    evidence = critic_network(CRITIC).evidence
    frames = build_label_frames(tmp_path / "frames", by_studio, shots, evidence)
    assert len(frames) == 2
    assert frames.plans.any()
    # The studio's critiques tell edits and a score, which the stated plans are.
    assert np.array_equal(frames.scores, frames.told[:, -1])
    assert np.array_equal(frames.stated, frames.told[:, :-1])
    assert (frames.residuals[:, 1] >= frames.residuals[:, 0] - 0.01).all()
    assert (frames.residuals[:, 2] > frames.residuals[:, 1]).all()
    changed = np.abs(frames.cleans.astype(int) - frames.views).mean((1, 2, 3))
    assert (changed > 0.5).all()
    mean = frames.cleans[:].mean((0, 1, 2))
    labels = list(by_studio.labels(hidden=False))
    wanted = np.mean([np.asarray(found.after).mean((0, 1)) for found in labels], 0)
    np.testing.assert_allclose(mean, wanted, atol=4)
    with pytest.raises(ConfigError, match="another photo than was labelled"):
        build_label_frames(tmp_path / "again", by_studio, tmp_path, evidence)
    patches = LabelPatches(frames)
    if len(patches):
        degraded, target, amounts = patches.draw(2, np.random.default_rng(0))
        assert degraded.shape == target.shape == (2, 3, 128, 128)
        assert amounts.shape == (2, 3)


def test_the_pair_learns_from_labels_and_can_be_built(by_studio: LabelStore, shots: Path, tmp_path: Path) -> None:
    out = tmp_path / "taught"
    asked = ["distill", "from-labels", str(by_studio.folder), "--photos", str(shots), "--out", str(out)]
    assert cli.run([*asked, "--run", str(tmp_path / "run"), "--steps", "2", "--threads", "1", "--json"]) == 0
    recipe = load_recipe(out / "recipe.yaml")
    assert recipe.training_data.sources[0].license == "Apache-2.0"
    for name in ("critic", "judge", "tone", "decoder"):
        assert (out / f"{name}.safetensors").read_bytes() != (WEIGHTS / f"{name}.safetensors").read_bytes()
    # Nothing is restored in so few pictures: a network that learnt them would know nothing else.
    assert (out / "restore.safetensors").read_bytes() == (WEIGHTS / "restore.safetensors").read_bytes()
    # Judge and decoder record whose plans and words they read; a plan of the build holds them to that.
    assert isinstance(recipe, PocketRecipe)
    assert set(plan(recipe, out / "recipe.yaml").components) == set(recipe.components)
    # The shipped weights are where training begins, and nothing goes there.
    assert cli.run([*asked[:-1], str(WEIGHTS)]) == 2


class Noisy(Patches):
    """Noise on gray, and gray."""

    def __init__(self) -> None:
        """No photos."""

    def _frame(self, rng: np.random.Generator) -> Frame:
        gray = np.full((128, 128, 3), rng.integers(60, 200), np.uint8)
        noisy = np.clip(gray + rng.normal(0, 12, gray.shape), 0, 255).astype(np.uint8)
        return Frame(noisy, gray, gray, EditPlan(denoise=0.5))


def beside_others(weight: torch.Tensor) -> float:
    """How large the fourth channel's weights are beside the others'."""
    sizes = weight.detach().abs().flatten(1).amax(1)
    return float(sizes[3] / sizes.median())


def test_taught_restoration_has_channels_of_one_size(tmp_path: Path) -> None:
    """Training takes steps of one size, whatever a channel's: INT8 would lose the small ones beside one that grew."""
    settings = FitSettings(steps=1, batch=2, learning_rate=1e-9)
    start, block = restore_network(WEIGHTS / "restore.safetensors"), "encoder.1.0"
    with torch.no_grad():
        expand, depthwise = (start.get_submodule(f"{block}.{name}") for name in ("expand", "depthwise"))
        for tensor in (expand.weight, expand.bias):
            tensor[3].mul_(200)
        depthwise.weight[3].div_(200)
    grown = beside_others(expand.weight)
    made, _ = taught_restoration(start, Noisy(), settings, tmp_path, torch.device("cpu"))
    assert beside_others(made.get_submodule(f"{block}.expand").get_parameter("weight")) < grown / 10
    degraded, _, amounts = Noisy().draw(2, np.random.default_rng(5))
    with torch.no_grad():
        before, after = (network.eval()(degraded, amounts) for network in (start, made))
    torch.testing.assert_close(before, after, atol=1e-4, rtol=0)


def test_a_released_teacher_teaches_it_too(shots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "teachers"))
    teacher = import_module("twins").smart_photo_crafter(tmp_path / "crafter")
    store = label(teacher, shots, tmp_path / "labels", side=128, steps=3, answer=6)
    assert store.settings.teacher is SystemName.SMART_PHOTO_CRAFTER
    out = tmp_path / "taught"
    asked = ["distill", "from-labels", str(store.folder), "--photos", str(shots), "--out", str(out)]
    capsys.readouterr()
    assert cli.run([*asked, "--run", str(tmp_path / "run"), "--steps", "2", "--threads", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    # Random words tell nothing: the plans are the pictures'.
    assert (told["photos"], told["pictures"], told["texts"]) == (2, 2, 0)
    assert told["residuals"]["plan_db"] >= told["residuals"]["untouched_db"]
    # What is not for sale stays so.
    text = (out / "recipe.yaml").read_text()
    (out / "recipe.yaml").write_text(text + "commercial: true\n")
    assert cli.run(["build", "--recipe", str(out / "recipe.yaml"), "--dry-run"]) == 2
    assert "CC-BY-NC-SA-4.0" in capsys.readouterr().err
