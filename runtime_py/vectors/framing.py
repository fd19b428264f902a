"""Vectors of levelling and cropping: views, boxes, turns, and the decision on one of them."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.geometry.composer import compose
from pocketcrafter.runtime.geometry.decide import FrameFacts, frame_facts, reasons, salience
from pocketcrafter.runtime.geometry.proposals import proposals
from pocketcrafter.runtime.geometry.turn import cut, inscribed_box, letterboxed, working_copy
from pocketcrafter.runtime.photo.model import Photo
from pocketcrafter.runtime.plan import CropBox
from pocketcrafter.runtime.vectors.pictures import Pixels, picture
from pocketcrafter.runtime.vectors.recording import Recording

_SIDES: Final = ((1, 1), (300, 200), (201, 300), (100, 100), (640, 33), (125, 100))
_TURNS: Final = (0.0, 3.5, -7.25)
_BOXES: Final = (CropBox(left=0, top=0, right=61, bottom=45), CropBox(left=7, top=3, right=40, bottom=44))
_FRAMES: Final = (
    CropBox(left=0, top=0, right=360, bottom=240),
    CropBox(left=30, top=20, right=300, bottom=220),
    CropBox(left=0, top=40, right=120, bottom=240),
    CropBox(left=200, top=0, right=360, bottom=90),
)
_SAID: Final = (
    (4.0, 0.9, 5, "crop"),
    (4.0, 0.6, 0, "crop"),
    (-1.0, 0.9, 30, "crop"),
    (-6.0, 0.8, 12, "level"),
    (9.0, 0.9, 22, "crop"),
)
"""Tilt, confidence, the box that is by far the best, and whether crops are judged too."""


class _Scripted:
    """A composition network that answers what it is told to, one score after the other."""

    def __init__(self, tilt: float, confidence: float, scores: FloatArray) -> None:
        self._said = {"tilt": np.float32(tilt), "confidence": np.float32(confidence)}
        self._scores, self._run = scores, 0

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Answer: tilt and confidence are the same each time."""
        del inputs
        said = self._said | {"score": self._scores[self._run % len(self._scores)]}
        self._run += 1
        return {name: np.full((1, 1), value, np.float32) for name, value in said.items()}


def record_framing(recording: Recording) -> None:
    """Add the cases of every function of levelling and cropping.

    Parameters
    ----------
    recording
        Receives the cases.
    """
    tensor = recording.tensor
    recording.add(
        "inscribed_box",
        [
            {"width": w, "height": h, "degrees": degrees, "box": _box(inscribed_box(w, h, degrees))}
            for w, h in _SIDES
            for degrees in (*_TURNS, 45.0)
        ],
    )
    pixels = picture(45, 61, 8)
    recording.add(
        "cut",
        [
            {"pixels": tensor(pixels), "box": _box(box), "degrees": degrees, "cut": tensor(cut(pixels, box, degrees))}
            for box in _BOXES
            for degrees in _TURNS
        ],
    )
    large = [picture(90, 770, 4), picture(5, 4700, 4), picture(30, 20, 4)]
    recording.add("working_copy", [{"pixels": tensor(p), "working": tensor(working_copy(Photo(p)))} for p in large])
    recording.add("letterboxed", [_letterboxed(recording, box) for box in (None, _BOXES[1])])
    recording.add("crop_proposals", [_proposed(w, h) for w, h in _SIDES])
    _record_reasons(recording)
    photo = picture(180, 260, 6)
    held = tensor(photo)
    recording.add("compose", [{"pixels": held, **_composed(recording, Photo(photo), *said)} for said in _SAID])


def _record_reasons(recording: Recording) -> None:
    """Add the cases of what stands out in a photo, and of why a crop of it is better."""
    photos = [_spotted(), picture(30, 20, 4), np.full((200, 120, 3), 90, np.uint8)]
    seen = [{"pixels": recording.tensor(p), "salience": recording.tensor(salience(p))} for p in photos]
    recording.add("salience", seen)
    salient = salience(photos[0])
    height, width = photos[0].shape[:2]
    facts = [frame_facts(salient, width, height, box) for box in _FRAMES]
    held = recording.tensor(salient)
    about = {"salience": held, "width": width, "height": height}
    recording.add(
        "frame_facts", [about | {"box": _box(b), "facts": f.model_dump()} for b, f in zip(_FRAMES, facts, strict=True)]
    )
    recording.add("crop_reasons", [_reasoned(before, after) for before in facts for after in facts])


def _spotted() -> Pixels:
    """Return a picture with a spot that stands out, near the left border."""
    pixels = picture(240, 360, 9) // 4 + np.uint8(60)
    pixels[110:180, 8:70] = (220, 60, 40)
    return pixels


def _reasoned(before: FrameFacts, after: FrameFacts) -> dict[str, Any]:
    given = {"before": before.model_dump(), "after": after.model_dump()}
    return given | {"reasons": [reason.model_dump(mode="json") for reason in reasons(before, after)]}


def _composed(
    recording: Recording, photo: Photo, tilt: float, confidence: float, best: int, mode: str
) -> dict[str, Any]:
    crop = mode == "crop"
    scores = np.random.default_rng(best).normal(0, 0.3, 64).astype(np.float32)
    # The first run asks for the tilt.
    scores[1 + best] += np.float32(6)
    composed = compose(_Scripted(tilt, confidence, scores), photo, crop=crop)
    if composed is None:
        raise AssertionError("the photo is large enough")
    return {
        "tilt": tilt,
        "confidence": confidence,
        "scores": recording.tensor(scores),
        "crop": crop,
        "turn_degrees": composed.turn_degrees,
        "box": None if composed.box is None else _box(composed.box),
        "cropped": composed.cropped,
        "severity": composed.tilt.severity,
        "reasons": [reason.model_dump(mode="json") for reason in composed.reasons],
    }


def _letterboxed(recording: Recording, box: CropBox | None) -> dict[str, Any]:
    pixels = picture(45, 61, 8)
    view, inside = letterboxed(pixels, box)
    tensors = {"pixels": pixels, "view": np.rint(view * 255).astype(np.uint8), "inside": inside.astype(np.uint8)}
    return {"box": box and _box(box), **{name: recording.tensor(values) for name, values in tensors.items()}}


def _proposed(width: int, height: int) -> dict[str, Any]:
    found = [{"box": _box(p.box), "reference": _box(p.reference)} for p in proposals(width, height)]
    return {"width": width, "height": height, "proposals": found}


def _box(box: CropBox) -> list[int]:
    return [box.left, box.top, box.right, box.bottom]
