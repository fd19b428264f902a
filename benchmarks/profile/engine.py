"""What a profiler is given and gives back, whatever the engine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketcrafter.benchmarks.profile.layers import Layer
from pocketcrafter.benchmarks.profile.results import OpProfile
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.bundle.results import Precision


@dataclass(frozen=True)
class Subject:
    """A lowered network to be profiled on one set of inputs, and the layers that it was lowered from, in order."""

    artifact: Path
    precision: Precision
    inputs: Mapping[str, FloatArray]
    layers: Sequence[Layer]
    threads: int
    runs: int


@dataclass(frozen=True)
class Profiled:
    """What an engine said: operators in running order, the median of a whole run in ms, and what was timed how."""

    ops: tuple[OpProfile, ...]
    total_ms: float | None
    engine: str
    runs: int


Profile = Callable[[Subject], Profiled]
"""Raises `BackendError` where the engine fails."""
