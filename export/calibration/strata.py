"""Calibration frames that cover every fault, either way and little and much: a range is read from what occurs."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from pocketcrafter.export.data.degrade import Faults
from pocketcrafter.export.data.noise import NoiseModel
from pocketcrafter.export.data.sampling import FAULTS, Focus, draw_faults
from pocketcrafter.runtime.plan import Attribute, EditPlan

_CANDIDATES: Final = 24
"""Plans that each frame's is chosen from."""
CLEAN: Final = "no fault"


def stratified_faults(count: int, seed: int, focus: Focus, noise_models: Sequence[NoiseModel]) -> list[Faults]:
    """Draw the faults of calibration frames, each frame's from many so that it fills strata that few others are in.

    Parameters
    ----------
    count, seed
        How many frames, and what they are drawn from; the first frames of many are those of few.
    focus, noise_models
        As in `pocketcrafter.export.data.sampling.draw_faults`.
    """
    seen: Counter[str] = Counter()
    drawn = []
    for index in range(count):
        candidates = [
            draw_faults(np.random.default_rng([seed, index, turn]), noise_models, focus) for turn in range(_CANDIDATES)
        ]
        found = [strata_of(faults.plan) for faults in candidates]
        # What is rarest decides: a frame of many faults may repeat some, but one that is all new goes first.
        best = max(range(_CANDIDATES), key=lambda turn: _worth(found[turn], seen))
        seen.update(found[best])
        drawn.append(candidates[best])
    return drawn


def strata_of(plan: EditPlan) -> tuple[str, ...]:
    """Return the strata that a plan lies in, such as ``exposure + much``: one for each fault; `CLEAN` without any."""
    return tuple(
        f"{attribute} {'+' if amount > 0 else '-'} {'much' if abs(amount) > _middle(attribute, amount) else 'little'}"
        for attribute in Attribute
        if (amount := float(getattr(plan, attribute.value)))
    ) or (CLEAN,)


def covered(plans: Iterable[EditPlan]) -> dict[str, int]:
    """Count the frames in each stratum, all strata that can be drawn among them."""
    counts = Counter(stratum for plan in plans for stratum in strata_of(plan))
    sides = [(a, s) for a, r in FAULTS.items() for s, bounds in (("+", r.positive), ("-", r.negative)) if bounds]
    known = [CLEAN, *(f"{a} {sign} {amount}" for a, sign in sides for amount in ("little", "much"))]
    return {name: counts[name] for name in known}


def _worth(strata: Sequence[str], seen: Counter[str]) -> float:
    return math.fsum(4.0 ** -seen[stratum] for stratum in strata) / math.sqrt(len(strata))


def _middle(attribute: Attribute, amount: float) -> float:
    bounds = FAULTS[attribute].positive if amount > 0 else FAULTS[attribute].negative
    return sum(bounds) / 2 if bounds else 0.0
