"""The words for faults and their remedies: what the training text is composed of, and what the parser reads back."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from pocketcrafter.runtime.plan import VECTOR_UNITS, Attribute


class Strength(StrEnum):
    """How much of a fault there is."""

    SLIGHT = "slight"
    CLEAR = "clear"
    STRONG = "strong"


Fault = tuple[Attribute, int]
"""An attribute and the sign of the change that mends it: ``(Attribute.EXPOSURE, 1)`` is a photo that is too dark."""

_CLEAR_FROM: Final = 0.25
_STRONG_FROM: Final = 0.6

FILLERS: Final[Mapping[str, Mapping[Strength, tuple[str, ...]]]] = {
    # Before participles, before adjectives, before "too", and before a few nouns.
    "adv": {
        Strength.SLIGHT: ("slightly", "a little", "a touch"),
        Strength.CLEAR: ("clearly", "noticeably", "plainly"),
        Strength.STRONG: ("badly", "heavily", "severely"),
    },
    "very": {
        Strength.SLIGHT: ("slightly", "a little", "a touch"),
        Strength.CLEAR: ("rather", "noticeably", "clearly"),
        Strength.STRONG: ("very", "extremely"),
    },
    "far": {
        Strength.SLIGHT: ("slightly", "a little", "a touch"),
        Strength.CLEAR: ("clearly", "noticeably"),
        Strength.STRONG: ("far", "much"),
    },
    "cast": {
        Strength.SLIGHT: ("a faint", "a slight"),
        Strength.CLEAR: ("a clear", "a visible"),
        Strength.STRONG: ("a heavy", "a strong"),
    },
    "veil": {
        Strength.SLIGHT: ("a thin", "a light"),
        Strength.CLEAR: ("a visible", "a clear"),
        Strength.STRONG: ("a thick", "a dense"),
    },
    "much": {
        Strength.SLIGHT: ("faint", "a little"),
        Strength.CLEAR: ("visible", "noticeable"),
        Strength.STRONG: ("heavy", "coarse"),
    },
    "blocks": {
        Strength.SLIGHT: ("faint", "small"),
        Strength.CLEAR: ("visible", "clear"),
        Strength.STRONG: ("heavy", "coarse"),
    },
}
"""What a clause says of a strength, by the name of its gap."""

_A: Final = Attribute
CLAUSES: Final[Mapping[Fault, tuple[str, ...]]] = {
    (_A.EXPOSURE, 1): (
        "the frame is {adv} underexposed",
        "the picture is {far} too dark",
        "the exposure is short by {stops}",
        "there is {stops} too little light",
    ),
    (_A.EXPOSURE, -1): (
        "the frame is {adv} overexposed",
        "the picture is {far} too bright",
        "the exposure is over by {stops}",
        "there is {stops} too much light",
    ),
    (_A.TEMPERATURE, 1): (
        "the white balance is {far} too cool",
        "the colors run {far} too blue",
        "{cast} cold cast lies over the colors",
    ),
    (_A.TEMPERATURE, -1): (
        "the white balance is {far} too warm",
        "the colors run {far} too orange",
        "{cast} warm cast lies over the colors",
    ),
    (_A.TINT, 1): (
        "the tint is {far} too green",
        "{cast} green cast is left in the neutrals",
        "the grays drift {adv} toward green",
    ),
    (_A.TINT, -1): (
        "the tint is {far} too magenta",
        "{cast} magenta cast is left in the neutrals",
        "the grays drift {adv} toward magenta",
    ),
    (_A.CONTRAST, 1): (
        "contrast is {far} too low",
        "the tones look {very} flat",
        "the tonal range is {adv} compressed",
    ),
    (_A.CONTRAST, -1): (
        "contrast is {far} too high",
        "the tones look {very} harsh",
        "the tonal transitions are {very} hard",
    ),
    (_A.HIGHLIGHTS, 1): (
        "the highlights are {far} too dull",
        "the brightest areas stay {very} gray",
        "the upper tones are {adv} subdued",
    ),
    (_A.HIGHLIGHTS, -1): (
        "the highlights are {far} too bright",
        "the brightest areas run {very} hot",
        "the upper tones are {adv} washed out",
    ),
    (_A.SHADOWS, 1): (
        "the shadows are {far} too deep",
        "the dark areas are {adv} blocked up",
        "the lower tones are {adv} crushed",
    ),
    (_A.SHADOWS, -1): (
        "the shadows are {far} too pale",
        "the dark areas look {very} milky",
        "the lower tones are {very} thin",
    ),
    (_A.SATURATION, 1): (
        "saturation is {far} too low",
        "the colors look {very} dull",
        "the colors are {adv} washed out",
    ),
    (_A.SATURATION, -1): (
        "saturation is {far} too high",
        "the colors look {very} garish",
        "the colors are {adv} overdone",
    ),
    (_A.DEHAZE, 1): (
        "{veil} veil of haze lies over the scene",
        "the view is {very} hazy",
        "the light is {adv} veiled by haze",
    ),
    (_A.DENOISE, 1): (
        "{much} noise shows in the smooth areas",
        "the smooth areas are {very} grainy",
        "{much} sensor noise covers the frame",
    ),
    (_A.DEBLUR, 1): (
        "the picture is {very} soft",
        "fine detail is {adv} blurred",
        "{cast} blur lies over the details",
    ),
    (_A.DEJPEG, 1): (
        "{blocks} compression blocks show in the flat areas",
        "JPEG compression has left {blocks} blocks behind",
        "the file is {adv} overcompressed",
    ),
}
"""Clauses that state a fault; no clause says two things, and nothing else in a critique reads like one."""

INSTRUCTIONS: Final[Mapping[Fault, tuple[str, ...]]] = {
    (_A.EXPOSURE, 1): (
        "Raise exposure by {amount} EV.",
        "Brighten the frame by {amount} EV.",
        "Exposure: +{amount} EV.",
    ),
    (_A.EXPOSURE, -1): (
        "Lower exposure by {amount} EV.",
        "Darken the frame by {amount} EV.",
        "Exposure: -{amount} EV.",
    ),
    (_A.TEMPERATURE, 1): (
        "Warm the white balance by {amount} mired.",
        "White balance: {amount} mired warmer.",
        "Shift the color temperature {amount} mired toward warm.",
    ),
    (_A.TEMPERATURE, -1): (
        "Cool the white balance by {amount} mired.",
        "White balance: {amount} mired cooler.",
        "Shift the color temperature {amount} mired toward cool.",
    ),
    (_A.TINT, 1): (
        "Shift the tint {amount} mired toward magenta.",
        "Tint: {amount} mired more magenta.",
        "Add {amount} mired of magenta.",
    ),
    (_A.TINT, -1): (
        "Shift the tint {amount} mired toward green.",
        "Tint: {amount} mired greener.",
        "Add {amount} mired of green.",
    ),
    (_A.CONTRAST, 1): ("Raise contrast by {amount}.", "Contrast: +{amount}.", "Increase the contrast by {amount}."),
    (_A.CONTRAST, -1): ("Lower contrast by {amount}.", "Contrast: -{amount}.", "Soften the contrast by {amount}."),
    (_A.HIGHLIGHTS, 1): ("Lift the highlights by {amount}.", "Highlights: +{amount}.", "Raise highlights by {amount}."),
    (_A.HIGHLIGHTS, -1): (
        "Recover the highlights by {amount}.",
        "Highlights: -{amount}.",
        "Bring the highlights down by {amount}.",
    ),
    (_A.SHADOWS, 1): ("Lift the shadows by {amount}.", "Shadows: +{amount}.", "Open the shadows by {amount}."),
    (_A.SHADOWS, -1): ("Deepen the shadows by {amount}.", "Shadows: -{amount}.", "Bring the shadows down by {amount}."),
    (_A.SATURATION, 1): (
        "Raise saturation by {amount}.",
        "Saturation: +{amount}.",
        "Strengthen the colors by {amount}.",
    ),
    (_A.SATURATION, -1): ("Lower saturation by {amount}.", "Saturation: -{amount}.", "Calm the colors by {amount}."),
    (_A.DEHAZE, 1): ("Remove haze, strength {amount}.", "Dehaze: {amount}.", "Clear the haze with strength {amount}."),
    (_A.DENOISE, 1): (
        "Reduce noise, strength {amount}.",
        "Denoise: {amount}.",
        "Clean the noise with strength {amount}.",
    ),
    (_A.DEBLUR, 1): ("Undo the blur, strength {amount}.", "Deblur: {amount}.", "Sharpen with strength {amount}."),
    (_A.DEJPEG, 1): (
        "Remove compression blocks, strength {amount}.",
        "Deblock: {amount}.",
        "Smooth the compression blocks with strength {amount}.",
    ),
}
"""Instructions that mend a fault; the amount is in the attribute's own unit."""

NO_CHANGE: Final = ("No change.", "Leave the photo as it is.", "Nothing to edit.")
"""What stands in the edit block of an empty plan."""

STOPS: Final[Mapping[float, str]] = {
    0.1: "a tenth of a stop",
    0.2: "a fifth of a stop",
    0.3: "a third of a stop",
    0.4: "nearly half a stop",
    0.5: "half a stop",
    0.6: "a good half stop",
    0.7: "two thirds of a stop",
    0.8: "almost a stop",
    0.9: "nearly a full stop",
    1.0: "a full stop",
    1.2: "a good stop",
    1.4: "nearly a stop and a half",
    1.6: "a stop and a half",
    1.8: "nearly two stops",
    2.0: "two stops",
    2.5: "two and a half stops",
    3.0: "three stops",
    3.5: "three and a half stops",
    4.0: "four stops",
}
"""Exposure amounts in words."""


def strength_of(attribute: Attribute, amount: float) -> Strength:
    """Return how strong a change is: an amount in the attribute's own unit, either sign."""
    share = abs(amount) / VECTOR_UNITS[attribute]
    return Strength.SLIGHT if share < _CLEAR_FROM else Strength.CLEAR if share < _STRONG_FROM else Strength.STRONG


def amount_text(amount: float) -> str:
    """Return an amount's magnitude as instructions write it."""
    return f"{abs(amount):g}"


def _pattern(template: str) -> str:
    """Return a regular expression for all that a template can become."""
    gaps = {name: [w for words in by_strength.values() for w in words] for name, by_strength in FILLERS.items()}
    gaps["stops"] = list(STOPS.values())
    found = re.escape(template)
    for name, words in gaps.items():
        found = found.replace(re.escape(f"{{{name}}}"), f"(?:{'|'.join(map(re.escape, words))})")
    return found.replace(re.escape("{amount}"), r"([0-9]{1,3}(?:\.[0-9]{1,2})?)")


CLAUSE_PATTERNS: Final[Mapping[Fault, re.Pattern[str]]] = {
    fault: re.compile("|".join(rf"\b{_pattern(c)}\b" for c in clauses), re.IGNORECASE)
    for fault, clauses in CLAUSES.items()
}
"""Finds a fault in text."""

INSTRUCTION_PATTERNS: Final[Mapping[Fault, tuple[re.Pattern[str], ...]]] = {
    fault: tuple(re.compile(_pattern(line)) for line in lines) for fault, lines in INSTRUCTIONS.items()
}
"""Matches one whole instruction and captures its amount."""
