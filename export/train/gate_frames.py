"""Frames that an attribute gate is tuned on: a critic's judgements of unseen photos, by kind of fault and source."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pocketcrafter.export.models.critic import Judgement
from pocketcrafter.export.train.evidence import EvidenceStore, to_batch
from pocketcrafter.runtime.plan import Attribute

PRIOR_PHOTOS: Final = 10
"""Shrinkage: a source of this many photos weighs as much as the mean of all sources."""


class Kind(IntEnum):
    """What is wrong with a frame: nothing, one fault that restoration mends and no other, or anything else."""

    DEGRADED = 0
    CLEAN = 1
    NOISE = 2
    BLUR = 3
    JPEG = 4


ALONE: Final = {Attribute.DENOISE: Kind.NOISE, Attribute.DEBLUR: Kind.BLUR, Attribute.DEJPEG: Kind.JPEG}
"""The kind of frames that have one fault of restoration and no other."""


@dataclass(frozen=True)
class JudgedFrames:
    """Small pictures of frames, the truth about them, and what a critic that never saw their photos says.

    Attributes
    ----------
    views, cleans
        Degraded and clean, sRGB in [0, 1]: float32 ``(N, 3, 32, 32)``.
    plans
        As in `EvidenceStore`.
    judged
        Of every frame.
    photos
        Which photo a frame was cut from, in the photos of all frames: int64 ``(N,)``.
    sources
        Where that photo is from, by name: ``(N,)``.
    """

    views: Tensor
    cleans: Tensor
    plans: npt.NDArray[np.float32]
    judged: Judgement
    photos: npt.NDArray[np.int64]
    sources: npt.NDArray[np.str_]

    @classmethod
    def of(
        cls,
        store: EvidenceStore,
        judged: Judgement,
        sources: Sequence[str],
        rows: npt.NDArray[np.int64] | None = None,
    ) -> Self:
        """Take frames, all when none are named, out of a store.

        Parameters
        ----------
        store
            The frames.
        judged
            What is said of every stored frame.
        sources
            Of each photo.
        rows
            The frames that are taken.
        """
        rows = np.arange(len(store)) if rows is None else rows
        views, cleans = (to_batch(np.array(pictures[rows])) for pictures in (store.small_views, store.small_cleans))
        said = Judgement(*(column[torch.from_numpy(rows)] for column in judged))
        photos = np.array(store.photos[rows], dtype=np.int64)
        return cls(views, cleans, np.array(store.plans[rows]), said, photos, np.array(sources)[photos])

    def joined(self, other: Self) -> Self:
        """Return these frames and those of other photos."""
        return type(self)(
            torch.cat([self.views, other.views]),
            torch.cat([self.cleans, other.cleans]),
            np.concatenate([self.plans, other.plans]),
            Judgement(*(torch.cat(pair) for pair in zip(self.judged, other.judged, strict=True))),
            np.concatenate([self.photos, other.photos + self.photos.max(initial=-1) + 1]),
            np.concatenate([self.sources, other.sources]),
        )

    def by_source(self, values: npt.NDArray[np.float64], among: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        """Return the mean of each source, in the order of names, as far as its photos let it be known.

        Sources differ more than photos of one source do, and a user's photo comes from an unseen source. The mean of a
        source with few photos is uncertain, so it is shrunk towards the mean of all sources by `PRIOR_PHOTOS`.

        Parameters
        ----------
        values
            Of every frame, ``(N,)``.
        among
            The frames that count, at least one: ``(N,)``.
        """
        places = [among & (self.sources == name) for name in np.unique(self.sources)]
        photos = np.array([len(np.unique(self.photos[place])) for place in places])
        means = np.array([values[place].mean() if place.any() else 0.0 for place in places])
        drawn = photos * means + PRIOR_PHOTOS * means[photos > 0].mean()
        return np.asarray(drawn / (photos + PRIOR_PHOTOS), dtype=np.float64)


def kinds_of(plans: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Return the `Kind` of frames, ``(N,)``, from their true plans ``(N, len(Attribute))``."""
    faulty = plans != 0
    kinds = np.where(faulty.any(1), Kind.DEGRADED, Kind.CLEAN)
    for column, attribute in enumerate(Attribute):
        if attribute in ALONE:
            kinds[faulty[:, column] & (faulty.sum(1) == 1)] = ALONE[attribute]
    return kinds


def balanced_rows(store: EvidenceStore, most: int) -> npt.NDArray[np.int64]:
    """Return the first frames of every photo and kind, at most as many of each, in order."""
    seen: dict[tuple[int, int], int] = {}
    rows = []
    for row, place in enumerate(zip(store.photos.tolist(), kinds_of(np.array(store.plans)).tolist(), strict=True)):
        seen[place] = seen.get(place, 0) + 1
        if seen[place] <= most:
            rows.append(row)
    return np.array(rows, dtype=np.int64)
