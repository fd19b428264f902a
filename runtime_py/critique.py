"""The diagnosis of a photo: what a plan says about each of SmartPhotoCrafter's 21 items, and the plan in words."""

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final, Literal

import numpy as np
from pydantic import Field

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.attribute_gate import GateSettings, apply_gate
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.geometry.decide import TiltOpinion
from pocketcrafter.runtime.plan import VECTOR_UNITS, Amount, Attribute, EditPlan
from pocketcrafter.runtime.plan_judge import Chosen
from pocketcrafter.runtime.validation import Checked


class Group(StrEnum):
    """The four groups of items."""

    QUALITY = "quality"
    COLOR_AND_LIGHT = "color and light"
    COMPOSITION = "composition"
    AESTHETIC = "aesthetic"


class Item(StrEnum):
    """What a critique speaks about."""

    BLUR = "blur/clarity"
    NOISE = "noise/compression"
    DISTORTION = "distortion/artifacts"
    INTERFERENCE = "visual interference"
    SATURATION = "saturation"
    WHITE_BALANCE = "white balance"
    CONTRAST = "contrast"
    EXPOSURE = "exposure"
    DYNAMIC_RANGE = "dynamic range"
    SHADOW_QUALITY = "shadow quality"
    LAYOUT = "layout"
    FOCUS = "focus"
    VIEWPOINT = "viewpoint/horizon"
    BACKGROUND_BLUR = "background blur"
    STYLE = "style"
    TONE_STYLE = "tone style"
    CREATIVITY = "creativity"
    EMOTION = "emotion/story"
    SEMANTIC_RICHNESS = "semantic richness"
    ENVIRONMENT = "environment integration"
    CONTEXT = "context adaptability"


_ORDER: Final = tuple(Item)
GROUPS: Final[Mapping[Group, tuple[Item, ...]]] = {
    Group.QUALITY: _ORDER[:4],
    Group.COLOR_AND_LIGHT: _ORDER[4:10],
    Group.COMPOSITION: _ORDER[10:15],
    Group.AESTHETIC: _ORDER[15:],
}

MEASURED_BY: Final[Mapping[Item, tuple[Attribute, ...]]] = {
    Item.BLUR: (Attribute.DEBLUR,),
    Item.NOISE: (Attribute.DENOISE, Attribute.DEJPEG),
    Item.SATURATION: (Attribute.SATURATION,),
    Item.WHITE_BALANCE: (Attribute.TEMPERATURE, Attribute.TINT),
    # A veil of haze is seen as lost contrast; the critic tells the two apart, the list of items does not.
    Item.CONTRAST: (Attribute.CONTRAST, Attribute.DEHAZE),
    Item.EXPOSURE: (Attribute.EXPOSURE,),
    Item.DYNAMIC_RANGE: (Attribute.HIGHLIGHTS,),
    Item.SHADOW_QUALITY: (Attribute.SHADOWS,),
}
"""The attributes that are evidence for an item, the one that it is called after first. Of the other items only the
horizon is assessed, by the tilt."""

Finding = Amount | Literal["fine", "not_assessed"]


class AttributeOpinion(Checked):
    """What the critic thinks of one attribute, before the gate."""

    amount: float = Field(description="Predicted change in the attribute's own unit.")
    presence: Amount = Field(description="P(attribute needs a change).")
    confidence: Amount = Field(description="P(predicted amount is near the truth).")


class Critique(Checked):
    """The diagnosis of one photo."""

    score: float = Field(ge=0, le=100, description="Photo score; higher is better.")
    findings: Mapping[Item, Finding] = Field(description="Severity in [0, 1], fine, or not assessed, for every item.")
    plan: EditPlan = Field(description="What is worth changing: the plan after the gate.")
    gain: tuple[float, float, float] | None = Field(
        None,
        description="What the plan's tones gain as the judge predicts it, in CIEDE2000: its 10 %, 50 % and 90 % "
        "quantiles; null where it chose none, and without a judge.",
    )
    opinions: Mapping[Attribute, AttributeOpinion] = Field(description="What the plan was gated from.")

    @property
    def words(self) -> str:
        """What is worth changing, in words."""
        return describe(self.plan)

    def lines(self) -> list[str]:
        """Return what people read: score and plan, then what was found in each group."""
        lines = [f"score {self.score:.0f}, {self.words}"]
        for group, items in GROUPS.items():
            told = [(item, self.findings[item]) for item in items if self.findings[item] != "not_assessed"]
            if told:
                parts = (f"{item} {f if isinstance(f, str) else self._severity(item, f)}" for item, f in told)
                lines.append(f"  {group:<16} {', '.join(parts)}")
            else:
                lines.append(f"  {group:<16} not assessed")
        return lines

    def _severity(self, item: Item, severity: float) -> str:
        """Return how bad an item is, and by which attribute where it is not called after that."""
        causes = MEASURED_BY.get(item, ())
        cause = max(causes, key=lambda a: abs(getattr(self.plan, a)) / VECTOR_UNITS[a], default=None)
        return (
            f"{severity:.2f}" if cause in causes[:1] or cause is None else f"{severity:.2f} ({cause.partition('_')[0]})"
        )


def critique_from(
    plan: FloatArray,
    presence: FloatArray,
    confidence: FloatArray,
    score: float,
    settings: GateSettings,
    chosen: Chosen | None = None,
) -> Critique:
    """Read a critique off the critic's outputs.

    Parameters
    ----------
    plan, presence, confidence
        Shape ``(len(Attribute),)``, float32, in vector units and probabilities.
    score
        Photo score in [0, 1]; clipped to it.
    settings
        The bundle's gate. An item is assessed where the gate can open for one of its attributes.
    chosen
        What the gate's judge chose, `None` where it chose nothing; not read where the gate has no judge.

    Returns
    -------
    Critique
        An item's severity is its strongest gated change in vector units, at most 1.

    Raises
    ------
    ShapeMismatchError
        If an array has another shape.
    """
    gated = apply_gate(plan, presence, confidence, settings, None if chosen is None else chosen.tones)
    units = np.array([VECTOR_UNITS[a] for a in Attribute])
    finite = [np.nan_to_num(x, nan=0.0, posinf=1.0, neginf=-1.0) for x in (plan * units, presence, confidence)]
    opinions = {
        a: AttributeOpinion(amount=float(amount), presence=_unit(p), confidence=_unit(c))
        for a, amount, p, c in zip(Attribute, *finite, strict=True)
    }
    return Critique(
        score=100 * _unit(score),
        findings={item: _finding(item, gated, settings.assessed) for item in Item},
        plan=gated,
        gain=None if chosen is None or settings.judge is None else chosen.gain,
        opinions=opinions,
    )


def with_tilt(critique: Critique, tilt: TiltOpinion | None) -> Critique:
    """Return the critique with the horizon assessed: not where the tilt is unknown or not sure."""
    finding: Finding = "not_assessed"
    if tilt is not None and tilt.sure:
        finding = tilt.severity or "fine"
    return critique.model_copy(update={"findings": {**critique.findings, Item.VIEWPOINT: finding}})


_WORDS: Final[Mapping[Attribute, tuple[str, str]]] = {
    Attribute.EXPOSURE: ("{:+.1f} EV", "{:+.1f} EV"),
    Attribute.TEMPERATURE: ("{:.0f} mired warmer", "{:.0f} mired cooler"),
    Attribute.TINT: ("{:.0f} mired more magenta", "{:.0f} mired greener"),
    Attribute.CONTRAST: ("contrast {:+.2f}", "contrast {:+.2f}"),
    Attribute.HIGHLIGHTS: ("highlights {:+.2f}", "highlights {:+.2f}"),
    Attribute.SHADOWS: ("shadows {:+.2f}", "shadows {:+.2f}"),
    Attribute.SATURATION: ("saturation {:+.2f}", "saturation {:+.2f}"),
}


def describe(plan: EditPlan) -> str:
    """Say a plan in words, as in "+0.8 EV, 25 mired warmer, denoise 0.4"; "left as it is" where it changes nothing.

    Raises
    ------
    ConfigError
        If it is no plan.
    """
    if not isinstance(plan, EditPlan):
        raise ConfigError(f"`describe` says an EditPlan in words; this is of {type(plan).__name__}.")
    parts = []
    for attribute in Attribute:
        value = getattr(plan, attribute)
        if value == 0:
            continue
        positive, negative = _WORDS.get(attribute, (attribute.value + " {:.1f}",) * 2)
        words = (positive if value > 0 else negative).format(value if "+" in positive else abs(value))
        parts.append(words)
    if plan.tilt_degrees:
        parts.append(f"turned {plan.tilt_degrees:+.1f}°")
    if plan.crop is not None:
        parts.append("cropped")
    return ", ".join(parts) or "left as it is"


def _finding(item: Item, plan: EditPlan, assessed: Collection[Attribute]) -> Finding:
    attributes = [a for a in MEASURED_BY.get(item, ()) if a in assessed]
    if not attributes:
        return "not_assessed"
    severity = max(abs(getattr(plan, a)) / VECTOR_UNITS[a] for a in attributes)
    return _unit(severity) if severity > 0 else "fine"


def _unit(value: float) -> float:
    return float(min(max(value, 0.0), 1.0)) if value == value else 0.0  # noqa: PLR0124 - false for NaN alone
