"""An untrained latent studio, built and measured: it has nothing to say, and leaves noise in its pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from tokenizers import Tokenizer
from torch import nn

from pocketcrafter.benchmarks.common.machine import this_machine
from pocketcrafter.benchmarks.latent_steps import (
    LatentStepsReport,
    contestants,
    latent_steps_text,
    measure_latent_steps,
)
from pocketcrafter.benchmarks.latent_studio import (
    OWN,
    TRUE,
    UNTOUCHED,
    PictureMeans,
    StudioFigures,
    measure_studio,
    studio_text,
)
from pocketcrafter.benchmarks.pair_commands import latent_studio
from pocketcrafter.export.models.backbone import MobileNetV2
from pocketcrafter.export.models.latent_studio import (
    AUTOENCODER,
    CONDITION_WIDTH,
    CRITIC,
    WIDTH,
    new_autoencoder,
    new_critic,
    new_unet,
    save_artist,
    save_critic,
)
from pocketcrafter.export.train.evidence import EvidenceStore, build_store
from pocketcrafter.export.train.latent.texts import build_tokenizer
from pocketcrafter.runtime import cli
from pocketcrafter.runtime.families import Pipeline
from pocketcrafter.runtime.photo import Photo

FRAMES = 6


@pytest.fixture(scope="module")
def store(photos: list[Path], camera_data: Path, tmp_path_factory: pytest.TempPathFactory) -> EvidenceStore:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("store")
    return build_store(folder, photos, camera_data, MobileNetV2().state_dict(), FRAMES, seed=5, processes=1)


@pytest.fixture(scope="module")
def bundle(store: EvidenceStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studio")
    pair, out = folder / "latent-studio", folder / "studio.pcbundle"
    torch.manual_seed(0)
    words = build_tokenizer(store.plans, store.scores)
    save_critic(new_critic(words.get_vocab_size()), words, pair / CRITIC)
    new_autoencoder().half().save_pretrained(pair / AUTOENCODER)
    save_artist(new_unet(), nn.Linear(WIDTH, CONDITION_WIDTH), pair)
    asked = ["build", str(pair), "--target", "onnx", "--out", str(out), "--stages", str(folder / "stages")]
    assert cli.run(asked) == 0
    return out


def test_frames_are_measured_by_kind_and_own_words_are_what_enhance_uses(bundle: Path, store: EvidenceStore) -> None:
    words = Tokenizer.from_file(str(bundle.parent / "latent-studio" / CRITIC / "tokenizer.json"))
    shown: list[list[np.ndarray]] = []
    pipeline = Pipeline.open(bundle)
    figures = measure_studio(pipeline, words, store, FRAMES, keep=lambda row: shown.append([*row]))
    assert figures.readable == figures.faults_right == 0
    faulty = store.plans.any(1)
    for means, frames in ((figures.degraded, faulty.sum()), (figures.clean, (~faulty).sum())):
        assert {m.words: m.frames for m in means} == dict.fromkeys((UNTOUCHED, OWN, TRUE), frames)
    assert figures.degraded[0].delta_e > 3
    assert {f"{words}: {what}" for words in (OWN, TRUE) for what in ("ΔE2000", "PSNR")} == set(figures.missed)
    untouched, own, _true, clean = shown[0]
    row = np.flatnonzero(faulty)[0]
    np.testing.assert_array_equal(untouched, store.views[row])
    np.testing.assert_array_equal(clean, store.cleans[row])
    np.testing.assert_array_equal(own, pipeline.enhance(Photo(np.array(store.views[row]))).photo.pixels)


def means(words: str, delta_e: float, psnr_db: float) -> PictureMeans:
    return PictureMeans(words=words, frames=3, delta_e=delta_e, psnr_db=psnr_db, worse=0.1, better=0.4)


def test_what_does_not_beat_the_untouched_frames_is_named() -> None:
    degraded = (means(UNTOUCHED, 12, 18), means(OWN, 11, 17.5), means(TRUE, 8, 21))
    figures = StudioFigures(degraded=degraded, clean=degraded, readable=0.9, faults_right=0.7)
    assert figures.missed == ["own words: PSNR"]
    assert "| degraded | own words | 3 | 11.00 | 17.50 | 10% | 40% |" in studio_text(figures)


def test_the_command_writes_a_sheet_and_tells_json(
    bundle: Path, store: EvidenceStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pocketcrafter.export.train.options.stored_frames", lambda _options, _split: store)
    picture = tmp_path / "sheet.png"
    result = CliRunner().invoke(latent_studio, [str(bundle), "--frames", "3", "--sheet", str(picture), "--json"])
    figures = StudioFigures.model_validate(json.loads(result.stdout))
    assert bool(figures.missed) == (result.exception is not None)
    with Image.open(picture) as image:
        assert image.size == (4 * 256, 256 * figures.degraded[0].frames)


def test_students_are_measured_beside_their_teacher(store: EvidenceStore, latent_twin: Path) -> None:
    """A student that is the teacher keeps all of its gain; in fewer steps the teacher makes other pictures."""
    opened, artists = contestants(latent_twin, (1, 4), {"same": latent_twin})
    rows = measure_latent_steps(opened, artists, store, 2, None)
    assert [(row.artist, row.steps) for row in rows] == [("untouched", 0), ("teacher", 4), ("teacher", 1), ("same", 4)]
    untouched, own, one, same = rows
    assert (untouched.kept, untouched.seconds) == (None, 0)
    assert same.kept == pytest.approx(1)
    assert (own.teacher_db, same.teacher_db) == (100, 100)
    assert one.teacher_db < 100
    assert one.figures.delta_e != own.figures.delta_e
    text = latent_steps_text(LatentStepsReport(machine=this_machine(), threads=1, frames=2, rows=rows))
    assert "| same | 4 |" in text


def test_a_student_in_int8_is_measured_beside_itself(store: EvidenceStore, latent_twin: Path) -> None:
    opened, artists = contestants(latent_twin, (), {"same": latent_twin}, int8=True)
    own, student, rounded = measure_latent_steps(opened, artists, store, 1, None)[1:]
    assert [student.artist, rounded.artist] == ["same", "same, INT8"]
    assert student.teacher_db == own.teacher_db == 100 > rounded.teacher_db > 15
