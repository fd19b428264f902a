"""Training frames with the critic's fixed evidence beside them, computed once and kept on disk.

The evidence is the costly part of a critic step and does not change, so that an epoch over stored frames costs a tenth.
"""

import json
import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from pocketcrafter.export.data.degrade import ByteImage, Frame
from pocketcrafter.export.data.noise import NoiseModel, load_noise_models
from pocketcrafter.export.data.sampling import draw_frame
from pocketcrafter.export.models.critic import MAP_SHAPE, VECTOR_DIM, Critic
from pocketcrafter.runtime.components import CROP_PX, VIEW_PX
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.views import crop_origins

FRAME_PX: Final = 512
_BLOCK: Final = 16
_SCORE_DELTA_E: Final = 25.0


class EvidenceConfig(Config):
    """What identifies a store; another configuration needs another folder."""

    frames: int
    seed: int
    photos: tuple[str, ...]
    backbone_sha256: str


@dataclass(frozen=True)
class EvidenceStore:
    """Memory-mapped arrays, one row a frame.

    Attributes
    ----------
    views, cleans
        The degraded and the clean frame at `VIEW_PX`: uint8, ``(N, 256, 256, 3)``.
    maps, vectors
        `Critic.evidence`: float16 ``(N, *MAP_SHAPE)`` and float32 ``(N, VECTOR_DIM)``.
    plans, scores
        Ground truth: float32 ``(N, len(Attribute))`` in plan-vector units, and float32 ``(N,)`` in [0, 1].
    photos
        Index of the photo a frame was cut from: int32 ``(N,)``.
    """

    views: npt.NDArray[np.uint8]
    cleans: npt.NDArray[np.uint8]
    maps: npt.NDArray[np.float16]
    vectors: npt.NDArray[np.float32]
    plans: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    photos: npt.NDArray[np.int32]

    @classmethod
    def open(cls, folder: Path, frames: int, mode: str = "r") -> Self:
        """Map the arrays of a folder; with mode ``"w+"`` they are made."""
        arrays = {}
        for field in fields(cls):
            dtype, shape = _LAYOUT[field.name]
            path = folder / f"{field.name}.npy"
            arrays[field.name] = (
                np.lib.format.open_memmap(path, "w+", dtype, (frames, *shape)) if mode == "w+" else np.load(path, mode)
            )
        return cls(**arrays)

    def __len__(self) -> int:
        return len(self.plans)


_LAYOUT: Final = {
    "views": (np.uint8, (VIEW_PX, VIEW_PX, 3)),
    "cleans": (np.uint8, (VIEW_PX, VIEW_PX, 3)),
    "maps": (np.float16, MAP_SHAPE),
    "vectors": (np.float32, (VECTOR_DIM,)),
    "plans": (np.float32, (len(Attribute),)),
    "scores": (np.float32, ()),
    "photos": (np.int32, ()),
}


def build_store(
    folder: Path,
    photos: Sequence[Path],
    noise_profiles: Path,
    backbone: dict[str, torch.Tensor],
    frames: int,
    seed: int,
    on_progress: Callable[[int], None] = lambda _: None,
    processes: int = 2,
) -> EvidenceStore:
    """Make the store, or what is missing of it, and open it.

    Frame ``i`` depends on the seed, the photos and ``i`` alone, so that an interrupted build goes on where it stopped
    and gives the same frames in any number of processes.

    Raises
    ------
    ConfigError
        If the folder holds a store of another configuration.
    """
    folder.mkdir(parents=True, exist_ok=True)
    digest = sha256(b"".join(v.numpy().tobytes() for v in backbone.values())).hexdigest()
    config = EvidenceConfig(frames=frames, seed=seed, photos=tuple(p.name for p in photos), backbone_sha256=digest)
    done_path, config_path = folder / "done.npy", folder / "store.json"
    if config_path.exists():
        if EvidenceConfig.model_validate_json(config_path.read_text()) != config:
            raise ConfigError(f"{folder} holds frames of another configuration; remove it, or name another folder.")
    else:
        EvidenceStore.open(folder, frames, "w+")
        np.save(done_path, np.zeros(-(-frames // _BLOCK), dtype=bool))
        config_path.write_text(json.dumps(config.model_dump()))
    done = np.load(done_path, "r+")
    on_progress(int(done.sum()) * _BLOCK)
    todo = [int(b) for b in np.flatnonzero(~done)]
    job = (folder, tuple(photos), noise_profiles, {k: v.numpy() for k, v in backbone.items()}, frames, seed)
    with multiprocessing.get_context("spawn").Pool(processes, _start_worker, job) as pool:
        for block in pool.imap_unordered(_fill_block, todo):
            done[block] = True
            done.flush()
            on_progress(min(_BLOCK, frames - block * _BLOCK))
    return EvidenceStore.open(folder, frames)


def photo_score(frame: Frame) -> float:
    """Return how good a degraded frame is beside its clean self, in [0, 1]; 1 is "as good as it was".

    Falls with the mean CIE76 colour difference at 1/8 size, and with each restoration amount.
    """
    small = [cv2.resize(p, None, fx=0.125, fy=0.125, interpolation=cv2.INTER_AREA) for p in (frame.degraded, frame.clean)]
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


def to_batch(pictures: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Turn uint8 ``(B, H, W, 3)`` into float32 ``(B, 3, H, W)`` in [0, 1], channels last in memory."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div_(255)


class _Worker:
    """What one process keeps between blocks."""

    def __init__(
        self,
        folder: Path,
        photos: Sequence[Path],
        noise_profiles: Path,
        backbone: dict[str, npt.NDArray[np.float32]],
        frames: int,
        seed: int,
    ) -> None:
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        self.seed, self.frames = seed, frames
        self.photos = photos
        self.pixels: dict[int, ByteImage] = {}
        self.noise: tuple[NoiseModel, ...] = load_noise_models(noise_profiles)
        self.critic = Critic().eval().to(memory_format=torch.channels_last)
        self.critic.backbone.load_state_dict({k: torch.from_numpy(v) for k, v in backbone.items()})
        self.store = EvidenceStore.open(folder, frames, "r+")

    def photo(self, index: int) -> ByteImage:
        if index not in self.pixels:
            with Image.open(self.photos[index]) as image:
                self.pixels[index] = np.asarray(image.convert("RGB"))
        return self.pixels[index]

    def fill(self, block: int) -> None:
        rows = range(block * _BLOCK, min((block + 1) * _BLOCK, self.frames))
        views, crops = [], []
        for row in rows:
            rng = np.random.default_rng([self.seed, row])
            index = int(rng.integers(len(self.photos)))
            frame = draw_frame(self.photo(index), FRAME_PX, rng, self.noise)
            view, frame_crops = critic_inputs(frame.degraded)
            views.append(view)
            crops.append(frame_crops)
            self.store.views[row] = view
            self.store.cleans[row] = cv2.resize(frame.clean, (VIEW_PX, VIEW_PX), interpolation=cv2.INTER_AREA)
            self.store.plans[row] = frame.plan.vector()
            self.store.scores[row] = photo_score(frame)
            self.store.photos[row] = index
        with torch.no_grad():
            maps, vectors = self.critic.evidence(to_batch(np.stack(views)), to_batch(np.concatenate(crops)))
        self.store.maps[rows.start : rows.stop] = maps.numpy()
        self.store.vectors[rows.start : rows.stop] = vectors.numpy()




_worker: _Worker | None = None


def _start_worker(
    folder: Path,
    photos: Sequence[Path],
    noise_profiles: Path,
    backbone: dict[str, npt.NDArray[np.float32]],
    frames: int,
    seed: int,
) -> None:
    global _worker  # noqa: PLW0603 - a pool's processes can only be given state this way
    _worker = _Worker(folder, photos, noise_profiles, backbone, frames, seed)


def _fill_block(block: int) -> int:
    if _worker is None:
        raise RuntimeError("_start_worker has not run in this process")
    _worker.fill(block)
    return block
