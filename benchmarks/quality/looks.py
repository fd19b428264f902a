"""Which of pilgram's looks mends most: chosen on validation photos, so that the peer is measured at its best."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from pocketcrafter.benchmarks.frames import MeasuredFrame
from pocketcrafter.benchmarks.quality.metrics import Reference
from pocketcrafter.benchmarks.quality.pictures import Peer


@dataclass(frozen=True)
class RankedLook:
    """A look and the mean change of CIEDE2000 that it makes; negative is better."""

    name: str
    delta_e_change: float


def rank_looks(frames: Iterable[MeasuredFrame], looks: Mapping[str, Peer]) -> list[RankedLook]:
    """Apply every look to every frame; the best first."""
    changes: dict[str, list[float]] = {name: [] for name in looks}
    for measured in frames:
        reference = Reference(measured.frame.clean)
        before = reference.delta_e(measured.frame.degraded)
        for name, look in looks.items():
            changes[name].append(reference.delta_e(look(measured.frame.degraded)) - before)
    ranked = [RankedLook(name, float(np.mean(values))) for name, values in changes.items()]
    return sorted(ranked, key=lambda look: look.delta_e_change)
