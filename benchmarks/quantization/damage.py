"""How much worse a pair became: what people see and read first, tensors beside it."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from pydantic import Field

from pocketcrafter.runtime.config import Config


class Damage(Config):
    """A quantized network in the whole pipeline, against the pipeline in full precision."""

    delta_e: float | None = Field(None, ge=0, description="Mean CIEDE2000 of the pictures; null for a decoder.")
    delta_e_worst: float | None = Field(None, ge=0, description="Of the worst picture.")
    psnr_db: float | None = Field(None, description="Mean over pictures, data range 255; 100 where equal.")
    plan_error: float | None = Field(None, ge=0, description="Mean absolute error of the gated plan, vector units.")
    disagreement: float | None = Field(
        None, ge=0, le=1, description="Share of a critique's greedy choices that differ, given the same words before."
    )
    sqnr_db: float | None = Field(description="Lowest of the network's outputs; null where all are identical.")

    @property
    def seen(self) -> float:
        """What people notice of it, the lower the better: color difference, or differing words."""
        return self.delta_e if self.delta_e is not None else self.disagreement or 0.0

    @property
    def order(self) -> tuple[float, float]:
        """What damages are sorted by: what is noticed, then the ratio of tensors."""
        return self.seen, -(self.sqnr_db if self.sqnr_db is not None else np.inf)

    @classmethod
    def of_pictures(cls, pictures: Sequence["PictureDamage"], sqnr_db: float | None) -> Self:
        """Return the means over pictures."""
        return cls(
            delta_e=float(np.mean([p.delta_e for p in pictures])),
            delta_e_worst=max(p.delta_e for p in pictures),
            psnr_db=float(np.mean([p.psnr_db for p in pictures])),
            plan_error=float(np.mean([p.plan_error for p in pictures])),
            sqnr_db=sqnr_db,
        )


class PictureDamage(Config):
    """One picture."""

    delta_e: float
    psnr_db: float
    plan_error: float
