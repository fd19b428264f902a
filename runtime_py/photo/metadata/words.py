"""What an edited photo may have to leave out, in the words that people are told."""

from collections.abc import Collection
from enum import StrEnum
from typing import Final

_LONGEST: Final = 12


class Word(StrEnum):
    """Something that stands in photo files beside the pixels."""

    CONTENT_CREDENTIALS = "content credentials (C2PA)"
    DAMAGED_EXIF = "EXIF (damaged)"
    DAMAGED_XMP = "XMP (damaged)"
    DEPTH = "depth map"
    EXTENDED_XMP = "extended XMP"
    FURTHER_PICTURES = "further pictures"
    GAIN_MAP = "gain map"
    JUMBF = "JUMBF boxes"
    MOTION = "motion video"
    POSITIONS = "places of faces and subject"
    SOUND = "sound"
    TRAILER = "data behind the picture"


def sentence(words: Collection[str]) -> tuple[str, ...]:
    """Say in one sentence what is left out; in none where that is nothing.

    A gain map is not told here but by whoever decodes colors. Where a gain map or motion video is known, further
    pictures and data behind the picture are the same thing seen from the other side.
    """
    told = [word for word in words if word != Word.GAIN_MAP]
    if Word.GAIN_MAP in words or Word.MOTION in words:
        told = [word for word in told if word not in {Word.FURTHER_PICTURES, Word.TRAILER}]
    more = [f"{len(told) - _LONGEST} more"] if len(told) > _LONGEST else []
    return (f"Left out: {', '.join([*told[:_LONGEST], *more])}.",) if told else ()


def of_text(keyword: str) -> str:
    """Call a PNG's text by its keyword, without what a terminal would obey."""
    return f"PNG text '{''.join(c if c.isprintable() else '?' for c in keyword)}'"
