"""A latent artist learns through INT8: fake-quantized, to predict what it does in full precision."""

from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from pocketcrafter.export.content import content_hash
from pocketcrafter.export.data.manifest import Split
from pocketcrafter.export.distill.latent.flow import FlowArtist, Levels, artist_settings, levels_of, sampled, started
from pocketcrafter.export.distill.latent.frames import PairFrames, build_frames, frames_config
from pocketcrafter.export.distill.latent.student import copy_pair, lay_out_again, save_student
from pocketcrafter.export.distill.qat import Batches, network_task
from pocketcrafter.export.families.latent.pair import read_pair
from pocketcrafter.export.train.options import TrainOptions, folder_beside, photos_of, tell, train_network
from pocketcrafter.runtime.config import Config

_STEPS: Final = 200
_CALIBRATION_BATCHES: Final = 32
_CPU: Final = torch.device("cpu")


class RoundedLesson(Config):
    """Which pair's artist learns through INT8, on how many frames, how fast, and where it goes."""

    start: Path
    frames: int
    rate: float
    out: Path


def train_through_int8(options: TrainOptions, lesson: RoundedLesson) -> None:
    """Train a latent artist's denoising network through INT8, and write the pair's folder.

    Parameters
    ----------
    options
        The command line's.
    lesson
        What is trained.

    Raises
    ------
    ConfigError
        If the pair has no artist that can be trained, or would be written over.
    """
    out = folder_beside(lesson.out, lesson.start)
    # Networks are lowered for one photo, and exported for training as they are lowered.
    settings = options.fit_settings(_STEPS, batch=1).model_copy(update={"learning_rate": lesson.rate, "ema": 0.98})
    pair, photos = read_pair(lesson.start), photos_of(options, Split.TRAIN)
    config = frames_config(pair, photos, lesson.frames, options.seed)
    seen = sha256(config.model_dump_json().encode()).hexdigest()[:12]
    with tqdm(total=lesson.frames, desc="frames", unit="frame") as bar:
        frames = build_frames(options.run / f"latent-frames-{seen}", pair, photos, options.data, config, bar.update)
    folder = options.run / f"qat-denoise-{content_hash(pair.files)[:8]}"
    lay_out_again(pair, folder / "pair")
    laid_out = read_pair(folder / "pair")
    # One that runs, and one that is exported: under vmap some networks keep tensors which cannot be copied.
    running, artist = (FlowArtist(laid_out, artist_settings(laid_out)).eval() for _ in range(2))
    batches = inputs_of_steps(running, levels_of(artist.settings, lesson.start), frames, options.seed)
    task, convert = network_task(artist.denoise, batches, _CALIBRATION_BATCHES)
    model, losses = train_network("denoise through INT8", task, settings, folder)
    convert(model)
    save_student(laid_out, artist)
    copy_pair(folder / "pair", out)
    tell(out, settings.steps, losses, as_json=options.as_json)


def inputs_of_steps(artist: FlowArtist, levels: Levels, frames: PairFrames, seed: int) -> Batches:
    """Return what draws inputs of the denoising network: of one frame at one of the artist's own steps.

    Parameters
    ----------
    artist
        In full precision; its own earlier steps lead to the step that is drawn.
    levels
        Of its steps.
    frames
        What it edits.
    seed
        What all is drawn from.
    """

    @torch.no_grad()
    def batch(step: int) -> tuple[Tensor, ...]:
        rng = np.random.default_rng([seed, step])
        shown = frames.shown(rng.integers(len(frames), size=1), _CPU)
        noise = torch.from_numpy(rng.standard_normal(shown.picture.shape, np.float32))
        index = int(rng.integers(len(levels)))
        begun = Levels(levels.levels[: index + 1], levels.fresh)
        with torch.autocast("cpu", enabled=False):
            latents = sampled(artist, started(noise, shown.picture, artist.settings), begun, shown)
            return artist.inputs(latents, latents.new_full((1,), levels.levels[index]), shown)

    return batch
