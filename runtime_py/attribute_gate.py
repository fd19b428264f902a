"""The gate: the part of a predicted plan that is sure enough to be carried out; good photos stay as they are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError, ShapeMismatchError
from pocketcrafter.runtime.plan import RESTORATION, TONAL, Amount, Attribute, EditPlan
from pocketcrafter.runtime.plan_judge import JudgeSettings
from pocketcrafter.runtime.validation import check_json


class AttributeGate(Config):
    """What one attribute of a predicted plan must reach before it is carried out, and how much of it is then."""

    presence: Amount = Field(description="Lowest P(attribute needs a change) at which it is changed.")
    confidence: Amount = Field(description="Lowest P(predicted amount is near the truth) at which it is changed.")
    dead_zone: float = Field(
        ge=0, le=4, description="Predicted amounts smaller than this, in vector units, are dropped."
    )
    shrink: Amount = Field(1.0, description="Share of the predicted amount that is carried out; 0 never changes it.")


class GateSettings(Config):
    """The gate of a bundle: one entry for every attribute, tuned on validation photos; and its judge's, if it has one.

    What restoration mends does not show in a small preview, so that thresholds decide on it with a judge too.
    """

    attributes: Mapping[Attribute, AttributeGate] = Field(description="The gate of each attribute; all must be there.")
    judge: JudgeSettings | None = Field(
        None, description="How the component `judge` chooses tones, in place of their thresholds; null without it."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if absent := [a.value for a in Attribute if a not in self.attributes]:
            raise ValueError(f"no gate for {', '.join(absent)}")
        return self

    @property
    def assessed(self) -> frozenset[Attribute]:
        """The attributes that can be changed at all; of the others nothing is said."""
        opening = {a for a, gate in self.attributes.items() if gate.shrink > 0}
        if self.judge is None:
            return frozenset(opening)
        proposed = {a for proposal in self.judge.proposals for a in proposal.attributes}
        return frozenset((opening & {*RESTORATION}) | (proposed & {*TONAL}))

    @classmethod
    def uniform(cls, presence: float, confidence: float, dead_zone: float, shrink: float = 1.0) -> Self:
        """Build settings that treat every attribute alike.

        Parameters
        ----------
        presence, confidence
            Lowest probabilities at which an attribute is changed, in [0, 1].
        dead_zone
            Smaller predicted amounts are dropped; in vector units, [0, 4].
        shrink
            Share of a predicted amount that is carried out, in [0, 1].
        """
        gate = AttributeGate(presence=presence, confidence=confidence, dead_zone=dead_zone, shrink=shrink)
        return cls(attributes=dict.fromkeys(Attribute, gate))


def read_gate(path: Path) -> GateSettings:
    """Read a gate, as ``train gate`` writes it.

    Raises
    ------
    ConfigError
        If it cannot be read, or is no gate of every attribute.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    return check_json(GateSettings, content, f"{path}: not a gate as `pocketcrafter train gate` writes it")


def apply_gate(
    plan: FloatArray,
    presence: FloatArray,
    confidence: FloatArray,
    settings: GateSettings,
    tones: EditPlan | None = None,
) -> EditPlan:
    """Turn the critic's raw outputs into the plan that is carried out.

    Parameters
    ----------
    plan
        Raw plan in vector units (``EditPlan.vector()``), shape ``(len(Attribute),)``, float32.
    presence, confidence
        Probabilities in [0, 1], shape ``(len(Attribute),)``, float32.
    settings
        Thresholds and shrink of each attribute.
    tones
        What the judge chose, `None` where it left the photo as it is; not read where the settings have no judge.

    Returns
    -------
    EditPlan
        Zero wherever presence, confidence or amount is below its threshold or not a finite number; elsewhere the
        shrunk amount, clipped to the attribute's range. With a judge the tones are those that it chose.

    Raises
    ------
    ShapeMismatchError
        If an array has another shape.
    """
    for name, array in (("plan", plan), ("presence", presence), ("confidence", confidence)):
        if array.shape != (len(Attribute),):
            raise ShapeMismatchError(f"The critic's `{name}` has shape ({len(Attribute)},), not {array.shape}.")
    gates = [settings.attributes[a] for a in Attribute]
    kept = (
        np.isfinite(plan)
        & (presence >= [g.presence for g in gates])
        & (confidence >= [g.confidence for g in gates])
        & (np.abs(plan) >= [g.dead_zone for g in gates])
    )
    shrunk = np.where(kept, plan, 0.0) * np.array([g.shrink for g in gates])
    gated = EditPlan.from_vector(shrunk.astype(np.float32))
    if settings.judge is None:
        return gated
    return (tones or EditPlan()).model_copy(update={a.value: getattr(gated, a) for a in RESTORATION})
