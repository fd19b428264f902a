"""Looks at a photo's composition: tilt, proposals, one decision; and carries the decision out."""

from dataclasses import replace
from typing import Final

import numpy as np
from pydantic import Field

from pocketcrafter.runtime.arrays import PixelArray
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.geometry.decide import (
    FrameFacts,
    RankedBox,
    Reason,
    TiltOpinion,
    choose,
    frame_facts,
    rank,
    reasons,
    salience,
)
from pocketcrafter.runtime.geometry.proposals import proposals
from pocketcrafter.runtime.geometry.turn import cut, inscribed_box, letterboxed, working_copy
from pocketcrafter.runtime.photo.model import Photo
from pocketcrafter.runtime.plan import CropBox
from pocketcrafter.runtime.progress import Progress

LEAST_PHOTO_PX: Final = 64
"""Photos with a shorter side than this are left as they are: nothing can be told of them."""


class Composed(Config):
    """What was found out about a photo's composition and what follows from it."""

    tilt: TiltOpinion
    turn_degrees: float = Field(description="The clockwise turn that is carried out.")
    box: CropBox | None = Field(description="What is kept of the levelled canvas; none keeps the whole photo.")
    cropped: bool = Field(description="Whether the box is a crop by choice, not only what a turn leaves.")
    ranked: tuple[RankedBox, ...] = Field(
        (), description="Every proposal, the best first; none where no crop was asked."
    )
    facts: tuple[FrameFacts, FrameFacts] | None = Field(None, description="Of the uncropped and of the best frame.")
    reasons: tuple[Reason, ...] = Field((), description="Why it is cropped; empty where it is not.")


def tilt_of(session: Session, photo: Photo) -> TiltOpinion | None:
    """Ask the network for a photo's tilt; none where the photo is too small to tell.

    Raises
    ------
    BackendError
        If the network fails.
    """
    return _tilt(session, working_copy(photo)) if _large_enough(photo) else None


def score_of(session: Session, photo: Photo) -> float:
    """Ask the network how well a photo is framed: log-odds, to be compared among boxes of one photo and size.

    Raises
    ------
    BackendError
        If the network fails.
    """
    return _score(session, working_copy(photo))


def compose(session: Session, photo: Photo, *, crop: bool, progress: Progress | None = None) -> Composed | None:
    """Decide how a photo is levelled and cropped; none where the photo is too small to tell.

    Parameters
    ----------
    session
        The composition network.
    photo
        The photo, any size and profile; it is not changed.
    crop
        Whether crops are judged too, a run of the network each; else the photo is only levelled.
    progress
        Called with (boxes judged, boxes in all).

    Raises
    ------
    BackendError
        If the network fails.
    """
    if not _large_enough(photo):
        return None
    working = working_copy(photo)
    tilt = _tilt(session, working)
    turn = tilt.turn
    canvas = inscribed_box(photo.width, photo.height, turn)
    levelled = Composed(tilt=tilt, turn_degrees=turn, box=canvas if turn else None, cropped=False)
    if not crop:
        return levelled
    level = cut(working, inscribed_box(working.shape[1], working.shape[0], turn), turn)
    return _cropped(levelled, session, level, canvas, progress)


def framed(photo: Photo, turn_degrees: float, box: CropBox | None) -> Photo:
    """Level and crop a photo at its own resolution; opacity goes along, and sizes in its metadata follow.

    Parameters
    ----------
    photo
        The photo; it is returned where there is nothing to do.
    turn_degrees
        The clockwise turn.
    box
        What is kept of the levelled canvas; `None` for all that a turn leaves without empty corners.

    Raises
    ------
    ShapeMismatchError
        If the box is empty or reaches over the canvas.
    """
    if box is None:
        if turn_degrees == 0:
            return photo
        box = inscribed_box(photo.width, photo.height, turn_degrees)
    pixels = cut(photo.pixels, box, turn_degrees)
    alpha = None if photo.alpha is None else cut(photo.alpha, box, turn_degrees)
    height, width = pixels.shape[:2]
    return replace(
        photo,
        pixels=pixels,
        alpha=alpha,
        metadata=photo.metadata.cropped(width, height),
    )


def _cropped(
    levelled: Composed, session: Session, level: PixelArray, canvas: CropBox, progress: Progress | None
) -> Composed:
    """Judge the crops of a levelled working copy, which stands for ``canvas`` of the photo's levelled canvas."""
    height, width = level.shape[:2]
    candidates = proposals(width, height)
    scores = []
    for index, candidate in enumerate(candidates):
        scores.append(_score(session, level, candidate.box))
        if progress is not None:
            progress(index + 1, len(candidates))
    ranked = rank(candidates, scores, width * height)
    chosen = choose(ranked)
    salient = salience(level)
    whole, best = (frame_facts(salient, width, height, box) for box in (candidates[0].box, ranked[0].box))
    placed = tuple(r.model_copy(update={"box": _placed(r.box, width, height, canvas)}) for r in ranked)
    evidence = {"ranked": placed, "facts": (whole, best)}
    if chosen is None:
        return levelled.model_copy(update=evidence)
    decision = {"box": placed[0].box, "cropped": True, "reasons": reasons(whole, best)}
    return levelled.model_copy(update=evidence | decision)


def _tilt(session: Session, working: PixelArray) -> TiltOpinion:
    view, inside = letterboxed(working)
    said = session.run({"view": view, "inside": inside})
    degrees, confidence = float(said["tilt"][0, 0]), float(said["confidence"][0, 0])
    if not (np.isfinite(degrees) and np.isfinite(confidence)):
        return TiltOpinion(degrees=0.0, confidence=0.0)
    return TiltOpinion(degrees=degrees, confidence=min(max(confidence, 0.0), 1.0))


def _score(session: Session, working: PixelArray, box: CropBox | None = None) -> float:
    view, inside = letterboxed(working, box)
    return float(session.run({"view": view, "inside": inside})["score"][0, 0])


def _placed(box: CropBox, width: int, height: int, canvas: CropBox) -> CropBox:
    """Scale a box of the small levelled photo to the full-size canvas, inside what the turn leaves of it."""
    across, down = (canvas.right - canvas.left) / width, (canvas.bottom - canvas.top) / height
    left, top = canvas.left + round(box.left * across), canvas.top + round(box.top * down)
    right, bottom = canvas.left + round(box.right * across), canvas.top + round(box.bottom * down)
    return CropBox(left=left, top=top, right=max(right, left + 1), bottom=max(bottom, top + 1))


def _large_enough(photo: Photo) -> bool:
    return min(photo.width, photo.height) >= LEAST_PHOTO_PX
