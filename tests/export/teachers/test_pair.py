"""A latent pair as a teacher does what its own bundles do."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from PIL import Image

from pocketcrafter.export.families.latent.networks import TorchPair
from pocketcrafter.export.families.latent.pair import read_pair
from pocketcrafter.export.teachers.teacher import Wish, load_teacher
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.latent.picture import artists_picture, critics_picture
from pocketcrafter.runtime.photo import Photo


@pytest.fixture(scope="module")
def photo(photos: list[Path]) -> Image.Image:
    with Image.open(photos[1]) as image:
        return image.convert("RGB").resize((140, 90))


@pytest.fixture(scope="module")
def teacher(latent_twin: Path) -> Any:
    return load_teacher(latent_twin)


def test_it_says_and_edits_what_the_pair_does(teacher: Any, latent_twin: Path, photo: Image.Image) -> None:
    pair = TorchPair(read_pair(latent_twin))
    assert pair.critic is not None
    assert pair.artist is not None
    assert pair.settings.critic is not None
    shown = Photo(np.asarray(photo))
    answer = pair.critic.answer(critics_picture(shown, pair.settings.critic.picture))
    said = teacher.critique(photo)
    assert said.ids.tolist() == list(answer.ids)
    assert np.array_equal(said.hidden, answer.hidden)
    assert len(said.hidden) == len(said.prompt) + len(said.ids) - 1
    run = teacher.trajectory(photo, Wish(said))
    small = artists_picture(shown, pair.artist.settings.side)
    change = pair.artist.change(small, answer.hidden)
    wanted = np.clip(small + change.after - change.before, 0, 1)
    assert np.abs(np.asarray(run.picture) / 255 - wanted).max() <= 0.5001 / 255
    assert np.abs(np.asarray(run.photo) / 255 - small).max() <= 0.5001 / 255


def test_its_latents_are_those_of_each_step(teacher: Any, photo: Image.Image) -> None:
    run = teacher.trajectory(photo)
    steps = teacher._pair.artist.settings.steps
    assert len(run.latents) == len(steps) + 1 == len(run.times) + 1
    assert np.isfinite(run.latents).all()
    # What `decode` is given, turned back, is what the last step left.
    own, after = teacher._pair.artist.settings.latents, []

    def keep(component: str, _function: str | None, sample: Any) -> None:
        if component == "decode":
            after.append(sample["latents"])

    pair = TorchPair(read_pair(teacher.layout.folder), keep)
    pair.run(Photo(np.asarray(photo)))
    np.testing.assert_allclose(run.latents[-1:], (after[0] - own.shift) * own.scale, atol=1e-6)
    other = teacher.trajectory(photo, Wish(seed=9))
    assert not np.array_equal(other.latents[0], run.latents[0])
    assert np.array_equal(teacher.trajectory(photo).latents, run.latents)


def test_it_runs_on_the_cpu_alone(latent_twin: Path) -> None:
    with pytest.raises(BackendError, match="on the CPU, not on cuda"):
        load_teacher(latent_twin, "cuda")
