"""Training frames with the critic's evidence beside them, computed once and kept on disk.

The evidence is the costly part of a critic step and does not change, so that an epoch over stored frames costs a tenth.
What an estimator says of the frames is kept apart, so that another estimator needs no new frames.
"""

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

import cv2
import numpy as np
import numpy.typing as npt
import torch

from pocketcrafter.export.data.degrade import ByteImage, Frame
from pocketcrafter.export.data.noise import load_noise_models
from pocketcrafter.export.data.photo_prep import read_pixels
from pocketcrafter.export.data.realism import load_realism
from pocketcrafter.export.data.sampling import draw_frame
from pocketcrafter.export.data.sources import NOISE_FILE
from pocketcrafter.export.models.blocks import channels_last
from pocketcrafter.export.models.critic import FIXED_DIM, Evidence
from pocketcrafter.export.train.memmap_store import Layout, StoredArrays, open_progress, weights_digest
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.pocket import CROP_PX, VIEW_PX
from pocketcrafter.runtime.views import crop_origins

FRAME_PX: Final = 512
SMALL_PX: Final = 32
_BLOCK: Final = 16
_BATCH: Final = 4
"""Frames that the evidence network sees at once: more of them leave a core's cache."""
_VERSION: Final = 2
"""Raised when the same arguments would give other frames or other evidence."""
_SCORE_DELTA_E: Final = 25.0


class EvidenceConfig(Config):
    """What identifies a store; another configuration needs another folder."""

    version: int
    frames: int
    seed: int
    photos: tuple[str, ...]
    backbone_sha256: str


@dataclass(frozen=True)
class EvidenceStore(StoredArrays):
    """Memory-mapped arrays, one row a frame.

    Attributes
    ----------
    views, cleans
        The degraded and the clean frame at `VIEW_PX`: uint8, ``(N, 256, 256, 3)``.
    small_views, small_cleans
        The same at `SMALL_PX`, on which a plan's picture is judged: uint8, ``(N, 32, 32, 3)``.
    vectors
        On disk `Evidence.fixed`: float32 ``(N, FIXED_DIM)``; `with_estimates` gives the whole, ``(N, VECTOR_DIM)``.
    plans, scores
        Ground truth: float32 ``(N, len(Attribute))`` in plan-vector units, and float32 ``(N,)`` in [0, 1].
    photos
        Index of the photo a frame was cut from: int32 ``(N,)``.
    """

    views: npt.NDArray[np.uint8]
    cleans: npt.NDArray[np.uint8]
    small_views: npt.NDArray[np.uint8]
    small_cleans: npt.NDArray[np.uint8]
    vectors: npt.NDArray[np.float32]
    plans: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    photos: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.plans)

    def with_estimates(self, estimates: npt.NDArray[np.float32]) -> Self:
        """Return the same frames with whole evidence vectors, in memory.

        Parameters
        ----------
        estimates
            Of every frame, as `export.train.estimates` has them: ``(N, ESTIMATES)``.
        """
        return replace(self, vectors=np.concatenate([self.vectors, estimates], 1))


LAYOUT: Final[Layout] = {
    "views": (np.uint8, (VIEW_PX, VIEW_PX, 3)),
    "cleans": (np.uint8, (VIEW_PX, VIEW_PX, 3)),
    "small_views": (np.uint8, (SMALL_PX, SMALL_PX, 3)),
    "small_cleans": (np.uint8, (SMALL_PX, SMALL_PX, 3)),
    "vectors": (np.float32, (FIXED_DIM,)),
    "plans": (np.float32, (len(Attribute),)),
    "scores": (np.float32, ()),
    "photos": (np.int32, ()),
}


def build_store(
    folder: Path,
    photos: Sequence[Path],
    data: Path,
    backbone: Mapping[str, torch.Tensor],
    frames: int,
    seed: int,
    on_progress: Callable[[int], object] = lambda _: None,
    processes: int = 2,
) -> EvidenceStore:
    """Make the store, or what is missing of it, and open it.

    Frame ``i`` depends on the seed, the photos and ``i`` alone, so that an interrupted build goes on where it stopped
    and gives the same frames in any number of processes.

    Parameters
    ----------
    folder
        Where the arrays are kept.
    photos
        sRGB photos of at least `FRAME_PX` on both sides.
    data
        The folder that `data prepare` made: noise profiles, lenses and presets lie there.
    backbone
        Weights of `MobileNetV2`.
    frames, seed
        How many frames, and what they are drawn from.
    on_progress
        Called with the number of frames that were there already, then with that of each block made.
    processes
        How many make frames at the same time.

    Raises
    ------
    ConfigError
        If the folder holds a store of another configuration.
    """
    digest, names = weights_digest(backbone), tuple(p.name for p in photos)
    config = EvidenceConfig(version=_VERSION, frames=frames, seed=seed, photos=names, backbone_sha256=digest)
    done = open_progress(folder, config, LAYOUT, frames, -(-frames // _BLOCK))
    todo = [int(block) for block in np.flatnonzero(~done)]
    on_progress(frames - sum(len(_rows(block, frames)) for block in todo))
    if todo:
        weights = {name: tensor.numpy() for name, tensor in backbone.items()}
        job = _Job(folder, tuple(photos), data, weights, frames, seed)
        with multiprocessing.get_context("spawn").Pool(min(processes, len(todo)), _start_worker, (job,)) as pool:
            for block in pool.imap_unordered(_fill_block, todo):
                done[block] = True
                done.flush()
                on_progress(len(_rows(block, frames)))
    return EvidenceStore.open(folder)


def photo_score(frame: Frame) -> float:
    """Return how good a degraded frame is beside its clean self, in [0, 1]; 1 is "as good as it was".

    Falls with the mean CIE76 color difference at 1/8 size, and with each restoration amount.
    """
    small = [
        cv2.resize(p, None, fx=0.125, fy=0.125, interpolation=cv2.INTER_AREA) for p in (frame.degraded, frame.clean)
    ]
    lab = [cv2.cvtColor(p.astype(np.float32) / 255, cv2.COLOR_RGB2Lab) for p in small]
    delta_e = float(np.linalg.norm(lab[0] - lab[1], axis=-1).mean())
    kept = 1.0
    for amount in (frame.plan.denoise, frame.plan.deblur, frame.plan.dejpeg):
        kept *= 1 - 0.4 * amount
    return float(np.exp(-delta_e / _SCORE_DELTA_E) * kept)


def critic_inputs(degraded: ByteImage) -> tuple[ByteImage, ByteImage]:
    """Return the view ``(256, 256, 3)`` and the crops ``(CROPS, 128, 128, 3)`` of a 512² frame, uint8."""
    view = cv2.resize(degraded, (VIEW_PX, VIEW_PX), interpolation=cv2.INTER_AREA)
    crops = [degraded[t : t + CROP_PX, x : x + CROP_PX] for t, x in crop_origins(*degraded.shape[:2])]
    return view, np.stack(crops)


def small(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return a picture at `SMALL_PX`, uint8 ``(32, 32, 3)``.

    Parameters
    ----------
    picture
        uint8, ``(H, W, 3)``.
    """
    return np.asarray(cv2.resize(picture, (SMALL_PX, SMALL_PX), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def to_batch(pictures: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Turn uint8 ``(B, H, W, 3)`` into float32 ``(B, 3, H, W)`` in [0, 1], channels last in memory."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div_(255)


def _rows(block: int, frames: int) -> range:
    return range(block * _BLOCK, min((block + 1) * _BLOCK, frames))


@dataclass(frozen=True)
class _Job:
    """What a process needs to fill blocks."""

    folder: Path
    photos: tuple[Path, ...]
    data: Path
    backbone: Mapping[str, npt.NDArray[np.float32]]
    frames: int
    seed: int


class _Worker:
    """What one process keeps between blocks."""

    def __init__(self, job: _Job) -> None:
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        self.job = job
        self.pixels: dict[int, ByteImage] = {}
        self.noise = load_noise_models(job.data / NOISE_FILE)
        self.realism = load_realism(job.data)
        self.evidence = channels_last(Evidence().eval())
        self.evidence.backbone.take({name: torch.from_numpy(v) for name, v in job.backbone.items()})
        self.store = EvidenceStore.open(job.folder, "r+")

    def photo(self, index: int) -> ByteImage:
        if index not in self.pixels:
            self.pixels[index] = read_pixels(self.job.photos[index])
        return self.pixels[index]

    def fill(self, block: int) -> None:
        rows = _rows(block, self.job.frames)
        views, crops = [], []
        for row in rows:
            rng = np.random.default_rng([self.job.seed, row])
            index = int(rng.integers(len(self.job.photos)))
            frame = draw_frame(self.photo(index), FRAME_PX, rng, self.noise, realism=self.realism)
            view, frame_crops = critic_inputs(frame.degraded)
            views.append(view)
            crops.append(frame_crops)
            clean = cv2.resize(frame.clean, (VIEW_PX, VIEW_PX), interpolation=cv2.INTER_AREA)
            self.store.views[row], self.store.cleans[row] = view, clean
            self.store.small_views[row], self.store.small_cleans[row] = small(view), small(clean)
            self.store.plans[row] = frame.plan.vector()
            self.store.scores[row] = photo_score(frame)
            self.store.photos[row] = index
        for start in range(0, len(rows), _BATCH):
            some = slice(start, start + _BATCH)
            with torch.no_grad():
                vectors = self.evidence.fixed(to_batch(np.stack(views[some])), to_batch(np.concatenate(crops[some])))
            self.store.vectors[rows.start + start : rows.start + start + len(vectors)] = vectors.numpy()


_worker: _Worker | None = None


def _start_worker(job: _Job) -> None:
    global _worker  # noqa: PLW0603 - a pool's processes can only be given state this way
    _worker = _Worker(job)


def _fill_block(block: int) -> int:
    if _worker is None:
        raise RuntimeError("_start_worker has not run in this process")
    _worker.fill(block)
    return block
