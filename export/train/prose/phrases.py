"""Phrases of the critique that state no fault: facts, what is fine, what was not assessed, and what to do first."""

from collections.abc import Mapping
from typing import Final

from pocketcrafter.export.train.prose.facts import Colorfulness, Detail, Light, Palette
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.prose.wording import Fault

LIGHT: Final[Mapping[Light, tuple[str, ...]]] = {
    Light.VERY_DARK: ("Most of the frame lies in darkness", "This is a very dark picture"),
    Light.DARK: ("The overall tone is low", "This is a dark picture"),
    Light.MIDDLE: ("The midtones carry the picture", "The overall brightness lies in the middle"),
    Light.BRIGHT: ("The overall tone is high", "This is a bright picture"),
    Light.VERY_BRIGHT: ("The frame is filled with light", "This is a very bright picture"),
}
PALETTE: Final[Mapping[Palette, tuple[str, ...]]] = {
    Palette.COOL: ("the palette is cool", "cool colors prevail"),
    Palette.BALANCED: ("warm and cool colors keep a balance", "the palette is neither warm nor cool"),
    Palette.WARM: ("the palette is warm", "warm colors prevail"),
    Palette.VERY_WARM: ("the palette is very warm", "warm colors dominate"),
}
MOOD_OF_LIGHT: Final[Mapping[Light, str]] = {
    Light.VERY_DARK: "somber",
    Light.DARK: "subdued",
    Light.MIDDLE: "even",
    Light.BRIGHT: "airy",
    Light.VERY_BRIGHT: "radiant",
}
MOOD_OF_PALETTE: Final[Mapping[Palette, str]] = {
    Palette.COOL: "cool",
    Palette.BALANCED: "neutral",
    Palette.WARM: "warm",
    Palette.VERY_WARM: "very warm",
}
MOODS: Final = ("The mood of the light is {light} and {palette}.", "The light feels {light} and {palette}.")
COLORS: Final[Mapping[Colorfulness, tuple[str, ...]]] = {
    Colorfulness.MUTED: ("Colors are restrained.", "There is little color in it."),
    Colorfulness.MODERATE: ("Colors are moderate.", "There is a fair amount of color in it."),
    Colorfulness.VIVID: ("Colors are vivid.", "There is plenty of color in it."),
}
DETAIL: Final[Mapping[Detail, tuple[str, ...]]] = {
    Detail.LITTLE: ("Large smooth areas make up most of the frame.", "There is little texture in the frame."),
    Detail.SOME: ("Texture and smooth areas share the frame.", "There is a fair amount of texture in the frame."),
    Detail.RICH: ("Texture fills the frame.", "There is a lot of texture in the frame."),
}

NAMES: Final[Mapping[Attribute, str]] = {
    Attribute.EXPOSURE: "exposure",
    Attribute.TEMPERATURE: "color temperature",
    Attribute.TINT: "tint",
    Attribute.CONTRAST: "contrast",
    Attribute.HIGHLIGHTS: "highlights",
    Attribute.SHADOWS: "shadows",
    Attribute.SATURATION: "saturation",
    Attribute.DEHAZE: "haze",
    Attribute.DENOISE: "noise",
    Attribute.DEBLUR: "sharpness",
    Attribute.DEJPEG: "compression",
}
PLURALS: Final = frozenset({Attribute.HIGHLIGHTS, Attribute.SHADOWS})

FINE: Final = ("{All} {need} no correction.", "{All} {call} for no change.", "Nothing to correct in {any}.")
NOT_ASSESSED: Final = ("{All} {were} not assessed.", "No judgment on {any}.", "{All} {were} not measured.")

NO_COMPOSITION: Final = (
    "Layout, focus and viewpoint were not assessed.",
    "Not assessed: this note is about light, color and quality.",
    "Framing and viewpoint were not assessed here.",
    "The arrangement of the picture was not assessed.",
    "No judgment: layout, focus and background blur were not looked at.",
)
NO_AESTHETICS: Final = (
    "Style, creativity and story were not assessed.",
    "Not assessed: taste and story are left to the viewer.",
    "Emotion and meaning were not assessed here.",
    "What the picture tells was not assessed.",
    "No judgment: style and creativity were not looked at.",
)
NOT_ASSESSED_SHORT: Final = ("Not assessed.", "Not measured.", "No judgment.")

SOUND: Final = ("Nothing to correct.", "No faults found.", "In order as far as measured.")
UNSEEN: Final = ("Not assessed.", "Nothing here was measured.")

VERDICTS: Final[Mapping[int, tuple[str, ...]]] = {
    0: ("The picture needs a lot of work", "This frame is in poor shape"),
    1: ("The picture needs work", "This frame has clear faults"),
    2: ("The picture is usable", "This frame is fair"),
    3: ("The picture is good", "This frame is in good shape"),
    4: ("The picture is very good", "This frame is in excellent shape"),
}
VERDICT_EDGES: Final = (30, 50, 70, 85)
"""Scores from which each verdict holds, beyond the first."""
NOTHING_TO_DO: Final = ("and nothing needs to be done", "and it can stay as it is", "and no edit is called for")
UNSURE: Final = (
    "but no fault is certain enough to act on",
    "but nothing stands out clearly enough to change",
    "but no single edit is sure to help",
)
NOTHING_TO_DO_SHORT: Final = ("Leave it as it is.", "Nothing to do.", "No edit is called for.")
UNSURE_SHORT: Final = ("No fault is certain enough to act on.", "Nothing is sure enough to change.")
UNSURE_BELOW: Final = 70
"""An empty plan for a photo under this score means doubt, not contentment."""

ONE_STEP: Final = ("{verdict}; the one step to take is to {step}.", "{verdict}; the only edit to make is to {step}.")
TWO_STEPS: Final = ("{verdict}: first {first}, then {second}.", "{verdict}; {first}, then {second}.")
THREE_STEPS: Final = (
    "{verdict}: first {first}, then {second}, and finally {third}.",
    "{verdict}; {first}, {second}, then {third}.",
)
MORE_STEPS: Final = (
    "{verdict}: first {first}, then {second}, and then the rest.",
    "{verdict}; start with two things, {first} and {second}, then do the rest.",
)
STEPS_SHORT: Final[Mapping[int, str]] = {
    1: "{first}.",
    2: "{first}, then {second}.",
    3: "{first}, {second}, then {third}.",
}
MORE_STEPS_SHORT: Final = "{first}, {second}, then the rest."

STEPS: Final[Mapping[Fault, tuple[str, ...]]] = {
    (Attribute.EXPOSURE, 1): ("brighten it", "raise the exposure"),
    (Attribute.EXPOSURE, -1): ("darken it", "lower the exposure"),
    (Attribute.TEMPERATURE, 1): ("warm the white balance", "make the colors warmer"),
    (Attribute.TEMPERATURE, -1): ("cool the white balance", "make the colors cooler"),
    (Attribute.TINT, 1): ("shift the tint toward magenta", "take out the green"),
    (Attribute.TINT, -1): ("shift the tint toward green", "take out the magenta"),
    (Attribute.CONTRAST, 1): ("add contrast", "raise the contrast"),
    (Attribute.CONTRAST, -1): ("soften the contrast", "lower the contrast"),
    (Attribute.HIGHLIGHTS, 1): ("lift the highlights", "brighten the highlights"),
    (Attribute.HIGHLIGHTS, -1): ("recover the highlights", "bring the highlights down"),
    (Attribute.SHADOWS, 1): ("open the shadows", "lift the shadows"),
    (Attribute.SHADOWS, -1): ("deepen the shadows", "bring the shadows down"),
    (Attribute.SATURATION, 1): ("strengthen the colors", "add saturation"),
    (Attribute.SATURATION, -1): ("calm the colors", "take back saturation"),
    (Attribute.DEHAZE, 1): ("clear the haze", "remove the haze"),
    (Attribute.DENOISE, 1): ("reduce the noise", "clean the noise"),
    (Attribute.DEBLUR, 1): ("sharpen it", "undo the blur"),
    (Attribute.DEJPEG, 1): ("smooth the compression blocks", "remove the compression blocks"),
}
"""What to do about a fault, after "first" or "then"."""
