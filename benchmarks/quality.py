"""Picture quality on held-out photos: what the pipeline mends, what it leaves alone, and what it makes worse."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from pydantic import Field
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from pocketcrafter.benchmarks.frames import FrameKind, MeasuredFrame
from pocketcrafter.export.data.degrade import ByteImage
from pocketcrafter.export.train.limits import MAX_WORSE_SHARE, MIN_UNCHANGED_SHARE, UNCHANGED_PSNR_DB
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.plan import EditPlan

Enhance = Callable[[ByteImage], tuple[ByteImage, EditPlan]]
"""Turns sRGB uint8 ``(H, W, 3)`` into the enhanced picture of the same shape and the plan that was carried out."""

_LOSSLESS_DB: Final = 100.0


class FrameQuality(Config):
    """One frame, before and after, each against the clean frame."""

    kind: FrameKind
    photo: str
    psnr_before_db: float
    psnr_after_db: float = Field(description="100 where the pictures are equal.")
    ssim_before: float
    ssim_after: float
    delta_e_before: float = Field(description="Mean CIEDE2000 colour difference.")
    delta_e_after: float
    plan: EditPlan
    true_plan: EditPlan


class KindQuality(Config):
    """Means over the frames of one kind."""

    frames: int
    psnr_before_db: float
    psnr_gain_db: float
    ssim_before: float
    ssim_gain: float
    delta_e_before: float
    delta_e_change: float = Field(description="Negative is better.")
    better_share: float = Field(description="Share of frames whose PSNR rose.")
    worse_share: float = Field(description="Share of frames whose mean CIEDE2000 rose by more than 1.")
    unchanged_share: float = Field(description=f"Share of frames above {UNCHANGED_PSNR_DB:.0f} dB afterwards.")


def measure(frames: Iterable[MeasuredFrame], enhance: Enhance) -> list[FrameQuality]:
    """Enhance every frame and compare it, before and after, with its clean self."""
    return [_measure_one(frame, enhance) for frame in frames]


def summarize(qualities: Sequence[FrameQuality]) -> dict[FrameKind, KindQuality]:
    """Return the means of each kind that occurs."""
    return {
        kind: _summarize_kind(chosen)
        for kind in FrameKind
        if (chosen := [quality for quality in qualities if quality.kind is kind])
    }


def psnr_db(picture: ByteImage, reference: ByteImage) -> float:
    """Peak signal-to-noise ratio of 8-bit pictures, data range 255; 100 where they are equal."""
    if np.array_equal(picture, reference):
        return _LOSSLESS_DB
    return min(_LOSSLESS_DB, float(peak_signal_noise_ratio(reference, picture, data_range=255)))


def delta_e(picture: ByteImage, reference: ByteImage) -> float:
    """Mean CIEDE2000 colour difference of sRGB pictures (D65)."""
    return float(deltaE_ciede2000(rgb2lab(picture), rgb2lab(reference)).mean())


def _measure_one(measured: MeasuredFrame, enhance: Enhance) -> FrameQuality:
    frame = measured.frame
    enhanced, plan = enhance(frame.degraded)
    return FrameQuality(
        kind=measured.kind,
        photo=measured.photo,
        psnr_before_db=psnr_db(frame.degraded, frame.clean),
        psnr_after_db=psnr_db(enhanced, frame.clean),
        ssim_before=_ssim(frame.degraded, frame.clean),
        ssim_after=_ssim(enhanced, frame.clean),
        delta_e_before=delta_e(frame.degraded, frame.clean),
        delta_e_after=delta_e(enhanced, frame.clean),
        plan=plan,
        true_plan=frame.plan,
    )


def _ssim(picture: ByteImage, reference: ByteImage) -> float:
    return float(structural_similarity(reference, picture, channel_axis=-1, data_range=255))


def _summarize_kind(qualities: Sequence[FrameQuality]) -> KindQuality:
    def mean(value: Callable[[FrameQuality], float]) -> float:
        return float(np.mean([value(q) for q in qualities]))

    return KindQuality(
        frames=len(qualities),
        psnr_before_db=mean(lambda q: q.psnr_before_db),
        psnr_gain_db=mean(lambda q: q.psnr_after_db - q.psnr_before_db),
        ssim_before=mean(lambda q: q.ssim_before),
        ssim_gain=mean(lambda q: q.ssim_after - q.ssim_before),
        delta_e_before=mean(lambda q: q.delta_e_before),
        delta_e_change=mean(lambda q: q.delta_e_after - q.delta_e_before),
        better_share=mean(lambda q: q.psnr_after_db > q.psnr_before_db),
        worse_share=mean(lambda q: q.delta_e_after - q.delta_e_before > 1),
        unchanged_share=mean(lambda q: q.psnr_after_db > UNCHANGED_PSNR_DB),
    )


@dataclass(frozen=True)
class QualityGate:
    """A bound on one mean of one kind of frames."""

    kind: FrameKind
    figure: str
    minimum: float | None = None
    maximum: float | None = None

    def holds(self, value: float) -> bool:
        """Whether a value lies within the bound."""
        return (self.minimum is None or value >= self.minimum) and (self.maximum is None or value <= self.maximum)

    def __str__(self) -> str:
        bound = f"≥ {self.minimum}" if self.minimum is not None else f"≤ {self.maximum}"
        return f"{self.kind} {self.figure} {bound}"


GATES: Final = (
    QualityGate(FrameKind.DEGRADED, "psnr_gain_db", minimum=1.5),
    QualityGate(FrameKind.DEGRADED, "delta_e_change", maximum=-3.0),
    QualityGate(FrameKind.DEGRADED, "worse_share", maximum=MAX_WORSE_SHARE),
    QualityGate(FrameKind.CLEAN, "unchanged_share", minimum=MIN_UNCHANGED_SHARE),
    QualityGate(FrameKind.NOISE, "psnr_gain_db", minimum=2.5),
)
"""What the default pair must reach on held-out photos."""


def missed_gates(figures: Mapping[FrameKind, KindQuality]) -> list[str]:
    """Return the gates that are not met, in words; kinds that were not measured are not judged."""
    return [
        f"{gate} (is {value:.3f})"
        for gate in GATES
        if gate.kind in figures and not gate.holds(value := getattr(figures[gate.kind], gate.figure))
    ]


def table(figures: Mapping[FrameKind, KindQuality]) -> str:
    """Return the means as a Markdown table, a row a kind."""
    head = "| frames | n | PSNR before | gain | SSIM gain | ΔE2000 before | change | better | worse | > 38 dB |"
    rows = [
        f"| {kind} | {q.frames} | {q.psnr_before_db:.1f} dB | {q.psnr_gain_db:+.2f} dB | {q.ssim_gain:+.3f} "
        f"| {q.delta_e_before:.1f} | {q.delta_e_change:+.2f} | {q.better_share:.0%} | {q.worse_share:.0%} "
        f"| {q.unchanged_share:.0%} |"
        for kind, q in figures.items()
    ]
    return "\n".join([head, "|---" * 10 + "|", *rows])
