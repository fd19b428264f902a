"""Rung 3: whole photos through a target's networks, against the same photos in full precision."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab

from pocketcrafter.benchmarks.common.network_source import NetworkSource
from pocketcrafter.benchmarks.common.prose import Asked, agreeing_choices
from pocketcrafter.benchmarks.parity.results import PhotoParity
from pocketcrafter.export.data.degrade import ByteImage
from pocketcrafter.runtime.bundle.gates import Figure, Gate, Metric
from pocketcrafter.runtime.bundle.results import Rung
from pocketcrafter.runtime.families import Pipeline, pipeline_of
from pocketcrafter.runtime.names import Mode
from pocketcrafter.runtime.photo import Photo, decode
from pocketcrafter.runtime.photo.color import in_srgb
from pocketcrafter.runtime.pipeline import Enhanced
from pocketcrafter.runtime.plan import RESTORATION
from pocketcrafter.runtime.pocket import TOKENIZER, Pocket
from pocketcrafter.runtime.prose.prompt import stated_plan
from pocketcrafter.runtime.prose.tokenizer import Words

GREEDY_TOKENS: Final = 32
"""Choices of a critique that are compared."""

_ROWS: Final = 512


def compare_photos(
    reference: NetworkSource, target: NetworkSource, photos: Sequence[Path], progress: Callable[[str, int, int], None]
) -> list[PhotoParity]:
    """Enhance and critique photos with both.

    Parameters
    ----------
    reference, target
        Full precision, and what is judged.
    photos
        Files of any size.
    progress
        Called with a photo's name, photos done and photos in all.

    Raises
    ------
    PhotoError
        If a file is not a photo.
    BackendError
        If a network fails.
    """
    pipelines = [pipeline_of(source, source.threads) for source in (reference, target)]
    found = []
    for number, path in enumerate(photos):
        progress(path.name, number, len(photos))
        photo = decode(path)
        expected, actual = (pipeline.enhance(photo) for pipeline in pipelines)
        same, compared = _tokens(pipelines[0], reference, target, photo)
        found.append(_compared(path.name, photo, expected, actual, same, compared))
    progress("photos", len(photos), len(photos))
    return found


def end_to_end_rung(photos: Sequence[PhotoParity], gates: Sequence[Gate], target: str) -> Rung:
    """Judge a target by its photos.

    Photos that neither pipeline changes say nothing of the networks behind the gate: they are left out of the mean, and
    where there are no others, nothing is proved.

    Parameters
    ----------
    photos
        The comparisons, at least one.
    gates
        What the figures must reach.
    target
        The target's name, for the report.
    """
    changed = [p for p in photos if p.changed] or list(photos)
    restored = sum(p.restored for p in photos)
    figures = [
        Figure(metric=Metric.DELTA_E_MEAN, value=float(np.mean([p.delta_e for p in changed]))),
        Figure(metric=Metric.DELTA_E_WORST, value=max(p.delta_e for p in photos)),
    ]
    if planned := [p.plan_error for p in photos if p.plan_error is not None]:
        figures.append(Figure(metric=Metric.PLAN_ERROR, value=float(np.mean(planned))))
    if compared := sum(p.tokens_compared for p in photos):
        figures.append(Figure(metric=Metric.TOKEN_AGREEMENT, value=sum(p.tokens_same for p in photos) / compared))
    how = (
        f"{len(photos)} whole photos through {target} on this host against the full-precision pipeline in torch; "
        f"{sum(p.changed for p in photos)} of them were changed, {restored} restored"
    )
    if not any(p.changed for p in photos):
        return Rung(rung=3, passed=None, how=how, gates=tuple(gates), figures=tuple(figures))
    return Rung.judged(3, how, gates, figures=figures)


def plan_error(expected: Enhanced, actual: Enhanced) -> float | None:
    """Mean error of what was planned over attributes, in vector units; `None` where nothing was planned in numbers."""
    if expected.plan is None or actual.plan is None:
        return None
    return float(np.mean(np.abs(expected.plan.vector() - actual.plan.vector())))


def mean_delta_e(first: ByteImage, second: ByteImage) -> float:
    """Mean CIEDE2000 of two sRGB pictures ``(H, W, 3)`` of one size; works in strips, so that large ones fit."""
    if np.array_equal(first, second):
        return 0.0
    total = 0.0
    for top in range(0, first.shape[0], _ROWS):
        a, b = (picture[top : top + _ROWS] for picture in (first, second))
        total += float(deltaE_ciede2000(rgb2lab(a), rgb2lab(b)).sum())
    return total / float(first.shape[0] * first.shape[1])


def _tokens(pipeline: Pipeline, reference: NetworkSource, target: NetworkSource, photo: Photo) -> tuple[int, int]:
    if not reference.has(Pocket.DECODER):
        return 0, 0
    # The target's critic has just seen the photo; its plan tokens go in, under the reference's prompt.
    tokens = np.ascontiguousarray(target.session(Pocket.CRITIC).outputs["tokens"])
    prose = pipeline.prose(photo, Mode.FULL)
    plan = stated_plan(prose.critique.plan, reference.gate)
    asked = Asked(tokens, plan, prose.critique.score, Mode.FULL)
    words = Words.read(reference.bundle.file(TOKENIZER))
    return agreeing_choices(asked, prose.written.ids, target.session(Pocket.DECODER), words, GREEDY_TOKENS)


def _compared(name: str, photo: Photo, expected: Enhanced, actual: Enhanced, same: int, compared: int) -> PhotoParity:
    return PhotoParity(
        photo=name,
        changed=not all(np.array_equal(e.photo.pixels, photo.pixels) for e in (expected, actual)),
        restored=any(e.plan is not None and e.plan.is_active(*RESTORATION) for e in (expected, actual)),
        delta_e=mean_delta_e(_srgb(expected.photo), _srgb(actual.photo)),
        plan_error=plan_error(expected, actual),
        tokens_same=same,
        tokens_compared=compared,
    )


def _srgb(photo: Photo) -> ByteImage:
    return np.asarray(in_srgb(photo.pixels, photo.icc))
