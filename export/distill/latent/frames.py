"""What a latent artist is distilled on, computed once: latents, hidden states, and a teacher's trajectories."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pocketcrafter.export.content import content_hash
from pocketcrafter.export.data.degrade import Frame
from pocketcrafter.export.data.noise import load_noise_models
from pocketcrafter.export.data.photo_prep import read_pixels
from pocketcrafter.export.data.realism import load_realism
from pocketcrafter.export.data.sampling import draw_frame
from pocketcrafter.export.data.sources import NOISE_FILE
from pocketcrafter.export.distill.latent.flow import Guided, Levels, Shown, along, started
from pocketcrafter.export.families.latent.networks import TorchPair
from pocketcrafter.export.families.latent.pair import Pair
from pocketcrafter.export.train.evidence import FRAME_PX
from pocketcrafter.export.train.memmap_store import Layout, StoredArrays, open_progress
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.latent.artist import LatentArtist
from pocketcrafter.runtime.latent.picture import artists_picture, critics_picture
from pocketcrafter.runtime.photo import Photo

GROUP: Final = 8
"""Trajectories that are made at a time."""
_VERSION: Final = 1
"""Raised when the same arguments would give other frames."""
Progress = Callable[[int], object]


class PairFramesConfig(Config):
    """What identifies stored frames; others need another folder."""

    version: int
    frames: int
    seed: int
    photos: tuple[str, ...]
    pair_sha256: str


class TrajectoriesConfig(Config):
    """What identifies stored trajectories; others need another folder."""

    frames: PairFramesConfig
    levels: tuple[float, ...]
    guidance: float


@dataclass(frozen=True)
class PairFrames(StoredArrays):
    """Memory-mapped arrays, one row a frame.

    Attributes
    ----------
    photos, cleans
        Latents of the degraded and the clean frame, as the autoencoder gives them: float16, ``(N, channels, side,
        side)``.
    hidden
        The critic's hidden states, padded: float16, ``(N, positions, width)``; one zero for fixed conditions.
    counts
        How many of those positions are some, int32, ``(N,)``.
    """

    photos: npt.NDArray[np.float16]
    cleans: npt.NDArray[np.float16]
    hidden: npt.NDArray[np.float16]
    counts: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.photos)

    def shown(self, rows: npt.NDArray[np.integer], device: torch.device) -> Shown:
        """Return what an artist is shown of some frames.

        Parameters
        ----------
        rows
            Their numbers.
        device
            Where to.
        """
        positions = np.arange(self.hidden.shape[1])[None] < self.counts[rows][:, None]
        return Shown(*(as_tensor(x, device) for x in (self.photos[rows], self.hidden[rows], positions)))

    def clean(self, rows: npt.NDArray[np.integer], device: torch.device) -> Tensor:
        """Return the clean frames' latents; as :meth:`shown`.

        Parameters
        ----------
        rows, device
            As for :meth:`shown`.
        """
        return as_tensor(self.cleans[rows], device)


@dataclass(frozen=True)
class FlowTrajectories(StoredArrays):
    """Memory-mapped states of a teacher, one row a frame: float16, ``(N, steps + 1, channels, side, side)``."""

    states: npt.NDArray[np.float16]


def as_tensor(array: npt.NDArray[np.generic], device: torch.device) -> Tensor:
    """Return an array in float32.

    Parameters
    ----------
    array
        Of any numbers.
    device
        Where to.
    """
    return torch.from_numpy(array.astype(np.float32)).to(device)


def frames_config(pair: Pair, photos: Sequence[Path], frames: int, seed: int) -> PairFramesConfig:
    """Return what identifies a pair's stored frames.

    Parameters
    ----------
    pair, photos, frames, seed
        As for :func:`build_frames`.
    """
    names = tuple(path.name for path in photos)
    return PairFramesConfig(
        version=_VERSION, frames=frames, seed=seed, photos=names, pair_sha256=content_hash(pair.files)
    )


def build_frames(
    folder: Path,
    pair: Pair,
    photos: Sequence[Path],
    data: Path,
    config: PairFramesConfig,
    on_progress: Progress = lambda _done: None,
) -> PairFrames:
    """Degrade and show photos to a pair, as far as that is not done yet, and open what it makes of them.

    Frame ``i`` depends on the seed, the photos and ``i`` alone, so that an interrupted build goes on where it stopped.

    Parameters
    ----------
    folder
        Where the arrays are kept.
    pair
        Whose critic and autoencoder see the frames.
    photos, data
        Prepared photos and the folder that `data prepare` made.
    config
        What identifies the frames.
    on_progress
        Called with the number of frames that were there already, then with 1 for each made.

    Raises
    ------
    ConfigError
        If the folder holds frames of another configuration, or the pair has no artist.
    """
    shown = TorchPair(pair)
    artist = shown.artist
    if artist is None:
        raise ConfigError(f"{pair.folder}: has no artist to distil.")
    latents = next(t.shape[1:] for t in artist.denoise.spec.inputs if t.name == "latents")
    text = (1, 1)
    if shown.critic is not None and pair.critic is not None and artist.reads_critic:
        positions = next(t.shape[1] for t in artist.denoise.spec.inputs if t.name == "text")
        text = (positions, pair.critic.width)
    layout: Layout = {
        "photos": (np.float16, latents),
        "cleans": (np.float16, latents),
        "hidden": (np.float16, text),
        "counts": (np.int32, ()),
    }
    done = open_progress(folder, config, layout, config.frames, config.frames)
    on_progress(int(done.sum()))
    store, source = PairFrames.open(folder, "r+"), FrameSource(photos, data, max(FRAME_PX, artist.settings.side))
    for row in np.flatnonzero(~done):
        frame = source.draw(np.random.default_rng([config.seed, row]))
        store.photos[row], store.cleans[row] = (
            _latents(artist, Photo(picture)) for picture in (frame.degraded, frame.clean)
        )
        hidden = _hidden(shown, Photo(frame.degraded))
        count = min(len(hidden), text[0])
        store.hidden[row, :count], store.counts[row] = hidden[:count], count
        done[row] = True
        done.flush()
        on_progress(1)
    return PairFrames.open(folder)


class FrameSource:
    """Degraded frames of photos.

    Parameters
    ----------
    photos, data
        Prepared photos and the folder that `data prepare` made.
    side_px
        Of the square frames.

    Raises
    ------
    ConfigError
        If there are no photos.
    """

    def __init__(self, photos: Sequence[Path], data: Path, side_px: int) -> None:
        if not photos:
            raise ConfigError(f"{data}: has no photos of the split that is asked for; prepare more: `data prepare`.")
        self._photos, self._side = photos, side_px
        self._noise, self._realism = load_noise_models(data / NOISE_FILE), load_realism(data)

    def draw(self, rng: np.random.Generator) -> Frame:
        """Return a part of a random photo, clean and degraded.

        Parameters
        ----------
        rng
            Draws everything.

        Raises
        ------
        ConfigError
            If the photo is smaller than a frame.
        """
        path = self._photos[int(rng.integers(len(self._photos)))]
        pixels = read_pixels(path)
        if min(pixels.shape[:2]) < self._side:
            raise ConfigError(f"{path}: is smaller than the {self._side} px that this artist is distilled on.")
        return draw_frame(pixels, self._side, rng, self._noise, realism=self._realism)


def _latents(artist: LatentArtist, photo: Photo) -> npt.NDArray[np.float32]:
    made: npt.NDArray[np.float32] = artist.latents(artists_picture(photo, artist.settings.side))[0]
    return made


def _hidden(pair: TorchPair, photo: Photo) -> npt.NDArray[np.float32]:
    critic, settings, artist = pair.critic, pair.settings.critic, pair.artist
    if critic is None or settings is None or artist is None or not artist.reads_critic:
        return np.zeros((1, 1), np.float32)
    said = critic.begin(critics_picture(photo, settings.picture))
    states: npt.NDArray[np.float32] = said.states(artist.settings.bridge_tokens)
    return states


def build_trajectories(
    folder: Path,
    teacher: Guided,
    levels: Levels,
    frames: PairFrames,
    config: PairFramesConfig,
    device: torch.device,
    on_progress: Progress = lambda _done: None,
) -> FlowTrajectories:
    """Let a teacher edit stored frames, as far as that is not done yet, and open the states of all its steps.

    Parameters
    ----------
    folder
        Where the states are kept.
    teacher, levels
        Whose, and at which noise levels.
    frames, config
        What it edits.
    device
        What it runs on.
    on_progress
        As for :func:`build_frames`.

    Raises
    ------
    ConfigError
        If the folder holds those of another configuration.
    """
    network = teacher.network.to(device).eval()
    identity = TrajectoriesConfig(frames=config, levels=levels.levels, guidance=teacher.guidance)
    layout: Layout = {"states": (np.float16, (len(levels) + 1, *network.shape))}
    done = open_progress(folder, identity, layout, len(frames), -(-len(frames) // GROUP))
    store = FlowTrajectories.open(folder, "r+")
    on_progress(GROUP * int(done.sum()))
    for group in np.flatnonzero(~done):
        rows = np.arange(group * GROUP, min((group + 1) * GROUP, len(frames)))
        shown = frames.shown(rows, device)
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + int(group))
        noise = torch.randn(len(rows), *network.shape, generator=generator).to(device)
        states = along(teacher, started(noise, shown.picture, network.settings), levels.levels, shown)
        store.states[rows] = torch.stack(states, 1).cpu().numpy()
        done[group] = True
        done.flush()
        on_progress(len(rows))
    return FlowTrajectories.open(folder)
