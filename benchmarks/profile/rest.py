"""Where a network's time goes that the machine's matrix products do not explain: the gap to the roof, part by part."""

from collections import defaultdict
from typing import Final

from pydantic import Field

from pocketcrafter.benchmarks.profile.layers import LayerKind
from pocketcrafter.benchmarks.profile.peak import Peaks
from pocketcrafter.benchmarks.profile.results import NetworkProfile
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.config import Config

_INT8: Final = frozenset({Precision.INT8, Precision.W8A8_DYNAMIC, Precision.A8W4_DYNAMIC})
"""Precisions whose products are INT8's."""

_MOST_OPS: Final = 4
"""Kinds of operators without MACs that are named; the others stand together."""


class Part(Config):
    """A part of a run's time."""

    what: str
    ms: float = Field(description="Below zero only for time between operators, where the engine's clocks overlap.")
    share: float = Field(description="Of the whole run.")


def roof_of(network: NetworkProfile, peaks: Peaks) -> float:
    """Return the GMAC/s that this machine's matrix products reach in the network's arithmetic."""
    return peaks.int8_gmacs if network.precision in _INT8 else peaks.fp32_gmacs


def where_time_goes(network: NetworkProfile, peaks: Peaks) -> list[Part]:
    """Split a run's time into what its MACs need at the roof and everything else.

    Parameters
    ----------
    network
        With times.
    peaks
        Of the same machine and number of threads.

    Returns
    -------
    list of Part
        First the time of all MACs at the roof; then, the dearest first, what each kind of layer takes on top of that,
        operators without MACs by what they are, and what passes between operators. They sum up to the whole run. Empty
        for a network that was not timed.
    """
    if network.total_ms is None or network.timed_ms is None:
        return []
    roof, above, without = roof_of(network, peaks), defaultdict[LayerKind, float](float), defaultdict[str, float](float)
    at_roof = 0.0
    for op in network.ops:
        if op.ms is None:
            continue
        if op.macs:
            ideal = min(op.ms, op.macs / roof / 1e6)
            at_roof += ideal
            above[op.kind] += op.ms - ideal
        else:
            without[op.op] += op.ms
    ranked = sorted(without.items(), key=lambda pair: -pair[1])
    parts = [(f"{kind.value}: slower than the roof", ms) for kind, ms in above.items()]
    parts += [(f"{op} (no MACs)", ms) for op, ms in ranked[:_MOST_OPS]]
    if others := sum(ms for _, ms in ranked[_MOST_OPS:]):
        parts.append(("other operators without MACs", others))
    parts.append(("between operators", network.total_ms - network.timed_ms))
    parts.sort(key=lambda pair: -pair[1])
    return [
        Part(what=what, ms=ms, share=ms / network.total_ms if network.total_ms else 0.0)
        for what, ms in [("all MACs at the roof", at_roof), *parts]
    ]
