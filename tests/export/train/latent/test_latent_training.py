"""The latent studio's parts: where they start, what they learn from, and that they learn."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from tokenizers import Tokenizer
from torch import Tensor, nn

from pocketcrafter.export.models.latent_studio import (
    CONDITION_WIDTH,
    CRITIC,
    LATENT_CHANNELS,
    LATENT_SIDE,
    PICTURE_TOKENS,
    SHIFT,
    STEPS,
    WIDTH,
    new_autoencoder,
    new_critic,
    new_unet,
    save_critic,
)
from pocketcrafter.export.train.evidence import EvidenceStore
from pocketcrafter.export.train.fit import FitSettings, Task, fit
from pocketcrafter.export.train.latent.artist import Artist, ArtistTask
from pocketcrafter.export.train.latent.autoencoder import AutoencoderTask
from pocketcrafter.export.train.latent.critic import CriticTask, Told
from pocketcrafter.export.train.latent.frames import LatentFrames, Networks, build_latent_frames
from pocketcrafter.export.train.latent.texts import answer_ids, build_tokenizer, critique_text, prompt_ids
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.plan import Attribute, EditPlan
from pocketcrafter.runtime.prose.parse import parse_prose

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tokenizer(store: EvidenceStore) -> Tokenizer:
    return build_tokenizer(np.array(store.plans), np.array(store.scores))


class FirstBatch:
    """A task's first batch, again and again."""

    def __init__(self, task: Task) -> None:
        self.task, self.model = task, task.model

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        return self.task.parameter_groups()

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        del step
        return self.task.loss(0)


def learned(task: Task, settings: FitSettings, folder: Path, part: str) -> tuple[float, float]:
    """Return the first and the last value of a part of the loss, over one batch learned by heart."""
    seen: list[float] = []
    fit(FirstBatch(task), settings, folder, lambda _, parts: seen.append(parts[part]))
    return seen[0], seen[-1]


def test_an_untrained_autoencoder_gives_colors_back_and_learns_detail(store: EvidenceStore, tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = FitSettings(steps=40, batch=2, learning_rate=1e-4, warmup=20)
    first, last = learned(AutoencoderTask(new_autoencoder(), store, settings, CPU), settings, tmp_path, "psnr")
    assert first > 15, "colors pass from the start"
    assert last > first + 0.3


def test_a_critique_tells_the_plan_and_is_read_back() -> None:
    plan = EditPlan(exposure_ev=1.2, tint_mired=-20, denoise=0.8)
    said = parse_prose(critique_text(plan.vector(), 0.52))
    told = {i.attribute: (i.amount or 0) * i.direction for i in said.instructions}
    assert told == {Attribute.EXPOSURE: pytest.approx(1.2), Attribute.TINT: pytest.approx(-20)}, "noise is not seen"
    assert said.score == 50


def test_words_of_an_answer_are_few_and_complete(store: EvidenceStore, tokenizer: Tokenizer) -> None:
    text = critique_text(store.plans[0], float(store.scores[0]))
    ids = answer_ids(tokenizer, text)
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert len(ids) < 40
    assert prompt_ids(tokenizer).count(tokenizer.token_to_id("<image>")) == PICTURE_TOKENS
    with pytest.raises(ConfigError, match="answers have 40 at most"):
        answer_ids(tokenizer, "qzx " * 40)


def test_a_critic_learns_words_and_plan(store: EvidenceStore, tokenizer: Tokenizer, tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = FitSettings(steps=16, batch=2, learning_rate=2e-3, warmup=2)
    told = Told(new_critic(tokenizer.get_vocab_size()))
    task = CriticTask(told, store, tokenizer, settings, CPU)
    first, last = learned(task, settings, tmp_path, "words")
    assert first == pytest.approx(np.log(tokenizer.get_vocab_size()), rel=0.1)
    assert last < 0.7 * first


def test_an_untrained_artist_leads_to_the_photo() -> None:
    torch.manual_seed(0)
    unet = new_unet()
    photo, noise = torch.randn(2, 2, LATENT_CHANNELS, LATENT_SIDE, LATENT_SIDE).unbind(0)
    artist = Artist(unet, nn.Linear(WIDTH, CONDITION_WIDTH))
    with torch.no_grad():
        velocity = artist(noise, photo, torch.ones(2), torch.randn(2, 9, WIDTH), torch.tensor([9, 4]))
    assert (velocity - (noise - photo)).square().mean() < 0.05 * (noise - photo).square().mean()


@pytest.fixture(scope="module")
def frames(store: EvidenceStore, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> LatentFrames:
    folder = tmp_path_factory.mktemp("latent")
    torch.manual_seed(0)
    new_autoencoder().half().save_pretrained(folder / "pair/artist/vae")
    save_critic(new_critic(tokenizer.get_vocab_size()), tokenizer, folder / "pair" / CRITIC)
    networks = Networks(folder / "pair", CPU)
    seen: list[int] = []
    made = build_latent_frames(folder / "frames", store, networks, 8, seen.append)
    assert sum(seen) == 8
    again = build_latent_frames(folder / "frames", store, networks, 8)
    np.testing.assert_array_equal(again.own, made.own)
    with torch.no_grad():
        networks.critic.lm_head.weight.mul_(2)
    with pytest.raises(ConfigError, match="another configuration"):
        build_latent_frames(folder / "frames", store, networks, 8)
    return made


def test_hidden_states_are_those_of_what_was_read(frames: LatentFrames) -> None:
    assert frames.own.shape == (8, 12 + 39, WIDTH)
    for states, counts in ((frames.own, frames.own_counts), (frames.true, frames.true_counts)):
        for row, count in zip(states, counts, strict=True):
            assert np.abs(row[:count]).max(1).min() > 0
            assert not row[count:].any()
    prompt = slice(0, 12)
    np.testing.assert_allclose(frames.own[:, prompt], frames.true[:, prompt], atol=2e-3)


def test_an_artist_learns_an_edit(frames: LatentFrames, tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = FitSettings(steps=10, batch=2, learning_rate=1e-3, warmup=2)
    task = ArtistTask(Artist(new_unet(), nn.Linear(WIDTH, CONDITION_WIDTH)), frames, settings, CPU)
    first, last = learned(task, settings, tmp_path, "loss")
    assert last < 0.9 * first


def test_an_artist_is_trained_where_its_steps_run_and_on_undegraded_frames_too(frames: LatentFrames) -> None:
    seen: list[float] = []

    class Watched(Artist):
        def forward(self, noisy: Tensor, photo: Tensor, sigma: Tensor, hidden: Tensor, counts: Tensor) -> Tensor:
            del hidden, counts
            seen.extend(sigma.tolist())
            return noisy - photo

    cleans = np.array(frames.photos)
    cleans[1:] += 1
    one_undegraded = dataclasses.replace(frames, cleans=cleans)
    settings = FitSettings(steps=1, batch=1, learning_rate=1e-3)
    task = ArtistTask(Watched(nn.Identity(), nn.Linear(1, 1)), one_undegraded, settings, CPU)
    unchanged = [task.loss(step)[1]["photo"] == 0 for step in range(120)]
    assert 0.2 < np.mean(unchanged) < 0.4, "one frame of eight is undegraded, and is drawn more often"
    scheduler = FlowMatchEulerDiscreteScheduler(shift=SHIFT)
    scheduler.set_timesteps(STEPS)
    assert {round(1000 * level) for level in seen} <= {round(time) for time in scheduler.timesteps.tolist()}
    seen.clear()
    anywhere = ArtistTask(Watched(nn.Identity(), nn.Linear(1, 1)), frames, settings, CPU, any_level=True)
    for step in range(40):
        anywhere.loss(step)
    assert min(seen) < 0.1
    assert max(seen) > 0.9
    assert len(set(seen)) == len(seen)
