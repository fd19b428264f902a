"""Rung 0: what the pocket networks lose to the larger ones that they were distilled from."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn

from pocketcrafter.benchmarks.common.frames import MeasuredFrame
from pocketcrafter.benchmarks.common.names import FrameKind
from pocketcrafter.benchmarks.common.network_source import NetworkSource
from pocketcrafter.benchmarks.common.picture_metrics import PictureFigures, Reference
from pocketcrafter.benchmarks.parity.results import StudioParity
from pocketcrafter.benchmarks.quality.pictures import PipelineSubject
from pocketcrafter.export.models import critic_network
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.attribute_gate import GateSettings
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.bundle.gates import Figure, Gate, Metric
from pocketcrafter.runtime.bundle.integrity import sha256_of
from pocketcrafter.runtime.bundle.results import Rung
from pocketcrafter.runtime.pipeline import PhotoPipeline, SessionSource
from pocketcrafter.runtime.pocket import Pocket

STUDIO_KINDS: Final = (FrameKind.DEGRADED, FrameKind.CLEAN, FrameKind.NOISE)
"""Frames that students and studios are compared on."""

STUDIO_COMPONENTS: Final = (Pocket.CRITIC, Pocket.TONE, Pocket.RESTORE)
"""Components that take part in a picture, and may have a studio."""

_OPINION: Final = ("plan", "presence", "confidence", "score")
"""What a critic says first, in order."""

_Measured = tuple[PictureFigures, float]


def compare_with_studio(
    student: NetworkSource,
    studio: Mapping[str, Path],
    frames: Sequence[MeasuredFrame],
    split: str,
    progress: Callable[[str, int, int], None],
) -> StudioParity:
    """Enhance frames with both and hold each against the clean frame.

    Parameters
    ----------
    student
        The bundle's networks in full precision.
    studio
        Weights of larger networks, which take the place of the student's; the bundle's gate stays. Of a critic its plan
        and score count: the tone network goes on reading the student's tokens.
    frames
        At least one.
    split
        What the frames come from, in words.
    progress
        Called with what is done, frames done and frames in all.

    Raises
    ------
    ConfigError
        If a file does not hold weights of its component.
    BackendError
        If a network fails.
    """
    sources: tuple[SessionSource, ...] = (student, _StudioSource(student, studio))
    subjects = [PipelineSubject(PhotoPipeline(source, threads=student.threads)) for source in sources]
    found: tuple[list[_Measured], list[_Measured]] = ([], [])
    for number, measured in enumerate(frames):
        progress("studio", number, len(frames))
        reference = Reference(measured.frame.clean)
        for results, subject in zip(found, subjects, strict=True):
            enhanced, critique = subject.enhance(measured.frame.degraded)
            error = np.abs(critique.plan.vector() - measured.frame.plan.vector())
            results.append((reference.figures(enhanced), float(error.mean())))
    progress("studio", len(frames), len(frames))
    pocket, large = (_means(results) for results in found)
    gates = student.bundle.manifest.gates(0)
    return StudioParity(
        studio={component: sha256_of(path) for component, path in studio.items()},
        frames=len(frames),
        split=split,
        student=pocket,
        studio_figures=large,
        rung=_rung(pocket, large, gates, len(frames), split),
    )


class _StudioSource:
    """The student's networks with a studio's in the place of some."""

    def __init__(self, student: NetworkSource, studio: Mapping[str, Path]) -> None:
        self._student, self._studio = student, studio
        others: dict[str, Path] = {c: path for c, path in studio.items() if c != Pocket.CRITIC}
        self._larger = NetworkSource(student.bundle, student.threads, weights={**student.weights, **others})

    @property
    def gate(self) -> GateSettings:
        return self._student.gate

    def has(self, component: str) -> bool:
        return self._student.has(component)

    def session(self, component: str) -> Session:
        if component == Pocket.CRITIC and component in self._studio:
            return _StudioCritic(self._student.session(component), critic_network(self._studio[component]))
        return self._larger.session(component)


class _StudioCritic:
    """A larger critic's opinion beside the student's tokens, the only ones that the other networks can read.

    A studio of several critics has several times as many tokens as the contract.
    """

    def __init__(self, student: Session, studio: nn.Module) -> None:
        self._student, self._studio = student, studio

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        with torch.inference_mode():
            outputs = self._studio(torch.from_numpy(inputs["view"]), torch.from_numpy(inputs["crops"]))
        opinion = {name: value.numpy() for name, value in zip(_OPINION, outputs[: len(_OPINION)], strict=True)}
        return self._student.run(inputs) | opinion


def _means(results: Sequence[_Measured]) -> tuple[Figure, ...]:
    figures, errors = zip(*results, strict=True)
    return (
        Figure(metric=Metric.PSNR_DB, value=float(np.mean([f.psnr_db for f in figures]))),
        Figure(metric=Metric.SSIM, value=float(np.mean([f.ssim for f in figures]))),
        Figure(metric=Metric.DELTA_E, value=float(np.mean([f.delta_e for f in figures]))),
        Figure(metric=Metric.PLAN_ERROR, value=float(np.mean(errors))),
    )


_LOSSES: Final[Mapping[Metric, tuple[Metric, int]]] = {
    Metric.PSNR_DB: (Metric.PSNR_LOSS_DB, -1),
    Metric.SSIM: (Metric.SSIM_LOSS, -1),
    Metric.DELTA_E: (Metric.DELTA_E_LOSS, 1),
    Metric.PLAN_ERROR: (Metric.PLAN_ERROR_LOSS, 1),
}
"""What a student loses by each metric, and the sign of student minus studio that is a loss."""


def _rung(
    pocket: tuple[Figure, ...], large: tuple[Figure, ...], gates: Sequence[Gate], frames: int, split: str
) -> Rung:
    how = (
        f"Student and studio in full precision, behind the bundle's gate, on {frames} frames of {split} photos, "
        "each against the clean frame"
    )
    figures = []
    for mine, theirs in zip(pocket, large, strict=True):
        loss, sign = _LOSSES[mine.metric]
        figures.append(Figure(metric=loss, value=sign * ((mine.value or 0.0) - (theirs.value or 0.0))))
    return Rung.judged(0, how, gates, figures=figures)
