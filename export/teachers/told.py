"""What a teacher's words tell in numbers, where they are a critique as ours are."""

import numpy as np
import numpy.typing as npt

from pocketcrafter.runtime.plan import UNITS, Attribute
from pocketcrafter.runtime.prose.parse import ProseError, parse_prose


def told_by(text: str) -> npt.NDArray[np.float32]:
    """Return the edits that a critique tells, in plan-vector units, and its score in [0, 1]; not numbers where none.

    Parameters
    ----------
    text
        The critique.
    """
    told = np.full(len(Attribute) + 1, np.nan, np.float32)
    try:
        prose = parse_prose(text)
    except ProseError:
        return told
    told[:-1], told[-1] = 0.0, prose.score / 100
    for said in prose.instructions:
        place = [*Attribute].index(said.attribute)
        told[place] = np.nan if said.amount is None else said.direction * abs(said.amount) / UNITS[place]
    return told
