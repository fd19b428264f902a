"""EditPlan: the one currency between critic, artist, user, regions and memory."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Final, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.errors import ConfigError, ShapeMismatchError
from pocketcrafter.runtime.validation import Checked, check, nearest, number_in


class Attribute(StrEnum):
    """What a plan can change, in the order of the critic's and artist's vectors; values are `EditPlan` field names."""

    EXPOSURE = "exposure_ev"
    TEMPERATURE = "temperature_mired"
    TINT = "tint_mired"
    CONTRAST = "contrast"
    HIGHLIGHTS = "highlights"
    SHADOWS = "shadows"
    SATURATION = "saturation"
    DEHAZE = "dehaze"
    DENOISE = "denoise"
    DEBLUR = "deblur"
    DEJPEG = "dejpeg"


RESTORATION: Final = (Attribute.DENOISE, Attribute.DEBLUR, Attribute.DEJPEG)
TONAL: Final = tuple(a for a in Attribute if a not in RESTORATION)

VECTOR_UNITS: Final[Mapping[Attribute, float]] = {
    a: {Attribute.EXPOSURE: 2.0, Attribute.TEMPERATURE: 100.0, Attribute.TINT: 50.0}.get(a, 1.0) for a in Attribute
}
"""One unit of the plan vector in the attribute's own unit, so that vector entries lie about in [-1, 1]."""

_MOST_STRENGTH: Final = 1000.0
"""Any plan is at its limits long before."""

Signed = Annotated[float, Field(ge=-1, le=1)]
Amount = Annotated[float, Field(ge=0, le=1)]


class CropBox(Checked):
    """A crop rectangle in source pixels after EXIF orientation; ``right`` and ``bottom`` are exclusive."""

    left: int = Field(ge=0)
    top: int = Field(ge=0)
    right: int = Field(gt=0)
    bottom: int = Field(gt=0)


class EditPlan(Checked):
    """What to do to a photo, in physical units; ``0`` always means "no change".

    Positive values mean: brighter, warmer, more magenta, more contrast, brighter highlights, brighter shadows, more
    saturated, and more haze, noise, blur or block artefacts removed.
    """

    exposure_ev: float = Field(0.0, ge=-4, le=4, description="Exposure change in EV (stops of linear light).")
    temperature_mired: float = Field(0.0, ge=-200, le=200, description="White-balance shift in mired; + warms.")
    tint_mired: float = Field(0.0, ge=-100, le=100, description="Green-magenta shift in mired; + adds magenta.")
    contrast: Signed = Field(0.0, description="Slope of the S-curve around encoded mid-grey is 2**contrast.")
    highlights: Signed = Field(0.0, description="Lifts (+) or recovers (-) the upper tones.")
    shadows: Signed = Field(0.0, description="Lifts (+) or deepens (-) the lower tones.")
    saturation: Signed = Field(0.0, description="Chroma is multiplied by 1 + saturation.")
    dehaze: Amount = Field(0.0, description="Share of a full veil that is removed.")
    denoise: Amount = Field(0.0, description="Sensor-noise removal; 1 is the strongest noise trained on.")
    deblur: Amount = Field(0.0, description="Defocus and motion removal; 1 is the strongest blur trained on.")
    dejpeg: Amount = Field(0.0, description="Block-artefact removal; 1 is the strongest compression trained on.")
    tilt_degrees: float = Field(0.0, ge=-15, le=15, description="Clockwise rotation that levels the horizon.")
    crop: CropBox | None = Field(
        None,
        description="Kept rectangle; none keeps the whole frame. Of a photo that is turned, in the pixels of its "
        "levelled canvas: as large as the photo, with the same center.",
    )

    def vector(self) -> FloatArray:
        """Return the plan as float32 of shape ``(len(Attribute),)`` in `VECTOR_UNITS`; geometry is not in it."""
        return np.array([getattr(self, a) / VECTOR_UNITS[a] for a in Attribute], dtype=np.float32)

    @classmethod
    def from_vector(cls, vector: FloatArray) -> Self:
        """Build a plan from the vector form; entries outside an attribute's range are clipped to it.

        Parameters
        ----------
        vector
            Shape ``(len(Attribute),)``, finite, in `VECTOR_UNITS`.

        Raises
        ------
        ShapeMismatchError
            If the shape differs.
        ConfigError
            If it is no array of finite numbers.
        """
        if not isinstance(vector, np.ndarray) or vector.dtype.kind not in "fiu" or not np.isfinite(vector).all():
            raise ConfigError("A plan vector is a numpy array of finite numbers.")
        if vector.shape != (len(Attribute),):
            raise ShapeMismatchError(f"A plan vector has shape ({len(Attribute)},), not {vector.shape}.")
        low, high = attribute_limits()
        values = np.clip(vector.astype(np.float64) * UNITS, low, high)
        return cls(**{a.value: float(v) for a, v in zip(Attribute, values, strict=True)})

    def replace(self, **changes: float | str | CropBox | None) -> Self:
        """Return the plan with other values.

        Parameters
        ----------
        changes
            New values by field name; text stands for the number that it spells.

        Raises
        ------
        ConfigError
            If there is no such field, with the one that is like it, or a value is out of its range, with the range.
        """
        return check(type(self), self.model_dump() | changes, "plan")

    def only(self, *names: str) -> Self:
        """Return the plan with nothing but these fields of it; the others change nothing.

        Raises
        ------
        ConfigError
            If there is no field of that name, with the one that is like it.
        """
        known = list(type(self).model_fields)
        if unknown := [name for name in names if name not in known]:
            raise ConfigError(f"plan: {unknown[0]}: unknown key; {nearest(unknown[0], known, 'valid keys')}")
        return type(self)(**{name: getattr(self, name) for name in names})

    def scaled(self, strength: float) -> Self:
        """Return the plan with every attribute times ``strength``, clipped to its range; geometry is kept.

        Parameters
        ----------
        strength
            From 0 to 1000.

        Raises
        ------
        ConfigError
            If it is no such number.
        """
        factor = number_in(strength, 0, _MOST_STRENGTH, "The strength")
        attributes = type(self).from_vector(self.vector() * np.float32(factor))
        return attributes.model_copy(update={"tilt_degrees": self.tilt_degrees, "crop": self.crop})

    @property
    def has_geometry(self) -> bool:
        """Whether the photo is turned or cropped."""
        return self.tilt_degrees != 0 or self.crop is not None

    def is_active(self, *attributes: Attribute) -> bool:
        """Whether any of the attributes (all, when none is named) asks for a change."""
        return any(getattr(self, a) != 0 for a in attributes or Attribute)


PlanLike = EditPlan | Callable[[EditPlan], EditPlan]
"""A plan, or what makes one of the critic's."""

UNITS: Final = np.array([VECTOR_UNITS[a] for a in Attribute])


def attribute_limits() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the lowest and highest value of each attribute, in its own unit, each of shape ``(len(Attribute),)``."""
    limits = []
    for attribute in Attribute:
        bounds = {type(m).__name__: m for m in EditPlan.model_fields[attribute].metadata}
        limits.append((bounds["Ge"].ge, bounds["Le"].le))
    low, high = np.array(limits, dtype=np.float64).T
    return low, high
