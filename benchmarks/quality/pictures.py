"""Every frame enhanced and compared, before and after, with its clean self; and the means of each kind of frame."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Final, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from pocketcrafter.benchmarks.common.frames import FrameKey, MeasuredFrame
from pocketcrafter.benchmarks.common.names import FrameKind
from pocketcrafter.benchmarks.common.picture_metrics import Extras, PictureFigures, Reference
from pocketcrafter.benchmarks.common.result_files import Name
from pocketcrafter.export.data.degrade import ByteImage
from pocketcrafter.export.train.evidence import photo_score
from pocketcrafter.export.train.limits import UNCHANGED_PSNR_DB
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.critique import AttributeOpinion, Critique
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.families import Diagnosis, Pipeline
from pocketcrafter.runtime.photo.model import Photo, PhotoFormat
from pocketcrafter.runtime.plan import Attribute, EditPlan

OURS: Final = "pocketcrafter"
"""What the bundle's pipeline is called beside its peers."""

Peer = Callable[[ByteImage], ByteImage]
"""Turns sRGB uint8 ``(H, W, 3)`` into what another tool makes of it, of the same shape."""

Score = Annotated[float, Field(ge=0, le=100)]


_T = TypeVar("_T")
_Floats = npt.NDArray[np.float64]


class Subject(Protocol):
    """What is measured."""

    def enhance(self, picture: ByteImage) -> tuple[ByteImage, Critique]:
        """Return the enhanced picture, of the same shape, and the critique whose plan was carried out."""

    def score(self, picture: ByteImage) -> float:
        """Return how good a picture is, 0 to 100."""


class PipelineSubject:
    """The whole pipeline of a bundle at full strength."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def enhance(self, picture: ByteImage) -> tuple[ByteImage, Critique]:
        """Enhance an sRGB picture."""
        enhanced = self._pipeline.enhance(_photo(picture))
        return enhanced.photo.pixels.astype(np.uint8), _in_numbers(enhanced.critique)

    def score(self, picture: ByteImage) -> float:
        """Score an sRGB picture."""
        return _in_numbers(self._pipeline.critique(_photo(picture))).score


def _in_numbers(critique: Diagnosis | None) -> Critique:
    if isinstance(critique, Critique):
        return critique
    raise ConfigError("The quality bench compares plans and scores; the critic of this bundle writes text alone.")


class Scores(Config):
    """The critic's score of one frame in its three states, and what training holds to be true of the first."""

    degraded: Score
    enhanced: Score
    clean: Score
    true_degraded: Score = Field(description="100 times `photo_score`.")


class PeerFrame(Config):
    """What another tool made of a frame."""

    after: PictureFigures
    seconds: float = Field(ge=0)


class FrameQuality(Config):
    """One frame, before and after, each against the clean frame."""

    kind: FrameKind
    photo: Name
    repeat: int = Field(ge=0, description="Which of this photo's frames of this kind.")
    before: PictureFigures
    after: PictureFigures
    seconds: float = Field(ge=0, description="From the picture to the enhanced one, on this machine.")
    plan: EditPlan = Field(description="What was carried out.")
    true_plan: EditPlan
    opinions: Mapping[Attribute, AttributeOpinion] = Field(description="What the critic said before the gate.")
    scores: Scores
    peers: Mapping[Name, PeerFrame] = Field({}, description="What others made of it, by name.")

    @property
    def key(self) -> FrameKey:
        """Which frame it is."""
        return FrameKey(self.photo, self.kind, self.repeat)


class KindQuality(Config):
    """Means over the frames of one kind."""

    frames: int
    psnr_before_db: float
    psnr_gain_db: float
    ssim_before: float
    ssim_gain: float
    delta_e_before: float
    delta_e_change: float = Field(description="Negative is better.")
    feature_distance_before: float | None
    feature_distance_change: float | None = Field(description="Negative is better; null where not measured.")
    brisque_before: float | None
    brisque_change: float | None = Field(description="Negative is better; null where not measured.")
    better_share: float = Field(description="Share of frames whose PSNR rose.")
    worse_share: float = Field(description="Share of frames whose mean CIEDE2000 rose by more than 1.")
    unchanged_share: float = Field(description=f"Share of frames above {UNCHANGED_PSNR_DB:.0f} dB afterwards.")
    seconds: float = Field(description="Mean time of a frame on this machine.")


@dataclass(frozen=True)
class Outcome:
    """A frame, what became of it, and the figures of that."""

    measured: MeasuredFrame
    enhanced: ByteImage
    quality: FrameQuality


def measure(
    frames: Iterable[MeasuredFrame],
    subject: Subject,
    peers: Mapping[str, Peer] | None = None,
    extras: Extras | None = None,
) -> Iterator[Outcome]:
    """Enhance frame after frame and compare each, before and after, with its clean self.

    Parameters
    ----------
    frames
        What to measure on.
    subject
        What is measured.
    peers
        What else turns the same frames into pictures, by name.
    extras
        Further metrics; left out when not given.
    """
    return (_measure_one(frame, subject, peers or {}, extras) for frame in frames)


def summarize(qualities: Sequence[FrameQuality], peer: str | None = None) -> dict[FrameKind, KindQuality]:
    """Return the means of each kind that occurs, of the bundle's pictures or of one peer's."""
    return {
        kind: _summarize_kind(chosen, peer)
        for kind in FrameKind
        if (chosen := [quality for quality in qualities if quality.kind is kind])
    }


def _measure_one(
    measured: MeasuredFrame, subject: Subject, peers: Mapping[str, Peer], extras: Extras | None
) -> Outcome:
    frame = measured.frame
    reference = Reference(frame.clean, extras)
    (enhanced, critique), seconds = _timed(partial(subject.enhance, frame.degraded))
    before = reference.figures(frame.degraded)
    same = enhanced is frame.degraded or np.array_equal(enhanced, frame.degraded)
    others = {}
    for name, peer in peers.items():
        picture, peer_seconds = _timed(partial(peer, frame.degraded))
        others[name] = PeerFrame(after=reference.figures(picture), seconds=peer_seconds)
    degraded_score = critique.score
    quality = FrameQuality(
        kind=measured.kind,
        photo=measured.photo,
        repeat=measured.repeat,
        before=before,
        after=before if same else reference.figures(enhanced),
        seconds=seconds,
        plan=critique.plan,
        true_plan=frame.plan,
        opinions=critique.opinions,
        scores=Scores(
            degraded=degraded_score,
            enhanced=degraded_score if same else subject.score(enhanced),
            clean=subject.score(frame.clean),
            true_degraded=100 * photo_score(frame),
        ),
        peers=others,
    )
    return Outcome(measured, enhanced, quality)


def _timed(work: Callable[[], _T]) -> tuple[_T, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def _photo(picture: ByteImage) -> Photo:
    return Photo(picture, source_format=PhotoFormat.PNG)


def _summarize_kind(qualities: Sequence[FrameQuality], peer: str | None) -> KindQuality:
    before = [q.before for q in qualities]
    after = [q.after if peer is None else q.peers[peer].after for q in qualities]
    seconds = [q.seconds if peer is None else q.peers[peer].seconds for q in qualities]
    psnr = _both(before, after, lambda f: f.psnr_db)
    ssim = _both(before, after, lambda f: f.ssim)
    delta_e = _both(before, after, lambda f: f.delta_e)
    distance = _both_if_measured(before, after, lambda f: f.feature_distance)
    brisque = _both_if_measured(before, after, lambda f: f.brisque)
    return KindQuality(
        frames=len(qualities),
        psnr_before_db=float(psnr[0].mean()),
        psnr_gain_db=float((psnr[1] - psnr[0]).mean()),
        ssim_before=float(ssim[0].mean()),
        ssim_gain=float((ssim[1] - ssim[0]).mean()),
        delta_e_before=float(delta_e[0].mean()),
        delta_e_change=float((delta_e[1] - delta_e[0]).mean()),
        feature_distance_before=None if distance is None else float(distance[0].mean()),
        feature_distance_change=None if distance is None else float((distance[1] - distance[0]).mean()),
        brisque_before=None if brisque is None else float(brisque[0].mean()),
        brisque_change=None if brisque is None else float((brisque[1] - brisque[0]).mean()),
        better_share=float((psnr[1] > psnr[0]).mean()),
        worse_share=float((delta_e[1] - delta_e[0] > 1).mean()),
        unchanged_share=float((psnr[1] > UNCHANGED_PSNR_DB).mean()),
        seconds=float(np.mean(seconds)),
    )


def _both(
    before: Sequence[PictureFigures], after: Sequence[PictureFigures], value: Callable[[PictureFigures], float]
) -> _Floats:
    return np.array([[value(f) for f in before], [value(f) for f in after]])


def _both_if_measured(
    before: Sequence[PictureFigures], after: Sequence[PictureFigures], value: Callable[[PictureFigures], float | None]
) -> _Floats | None:
    if any(value(f) is None for f in [*before, *after]):
        return None
    return _both(before, after, lambda f: value(f) or 0.0)
