"""What `pocketcrafter bench profile --json` writes."""

from itertools import pairwise
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from pocketcrafter.benchmarks.common.machine import Machine
from pocketcrafter.benchmarks.common.result_files import read_result
from pocketcrafter.benchmarks.common.timing import Skipped
from pocketcrafter.benchmarks.profile.layers import LayerKind
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import ComponentName
from pocketcrafter.runtime.config import Config


class Peaks(Config):
    """Billions of multiply-accumulates a second in a square matrix product of ONNX Runtime, median of a few."""

    side: int = Field(description="Rows and columns of both matrices.")
    threads: int
    fp32_gmacs: float = Field(gt=0)
    int8_gmacs: float = Field(gt=0, description="Unsigned times signed, into 32 bits.")


MAX_RESULT_BYTES: Final = 64 << 20


class OpProfile(Config):
    """One operator of a lowered network, as its engine runs it."""

    op: str = Field(max_length=200, description="What the engine calls it.")
    layer: str = Field(max_length=300, description="The torch module that it comes from, or after which it runs.")
    exact: bool = Field(description="Whether the layer is known, not merely the last one before it.")
    kind: LayerKind = LayerKind.OTHER
    ms: float | None = Field(ge=0, description="Median of the timed runs; null where the engine has no clock.")
    cycles: int | None = Field(
        None, ge=0, description="What an emulator counted where it has no clock: cost of the emulation, no device's."
    )
    macs: int = Field(0, ge=0)
    inside: bool = Field(description="Whether it runs where the target means it to: in the delegate, on INT8 kernels.")


class NetworkProfile(Config):
    """One network on one target; operators in running order."""

    component: ComponentName
    target: str
    precision: Precision
    engine: str = Field(max_length=200, description="What ran it, and what its clock is, in words.")
    runs: int = Field(ge=0, description="Timed runs after the first one; 0 for a census.")
    total_ms: float | None = Field(description="Median of a whole run; null where the engine has no clock.")
    macs: int = Field(0, ge=0, description="Multiply-accumulates of the whole network, as its manifest states them.")
    ops: tuple[OpProfile, ...]

    @property
    def undivided_macs(self) -> int:
        """The network's multiply-accumulates where no operator's are known, 0 where any are."""
        return 0 if any(op.macs for op in self.ops) else self.macs

    @property
    def timed_ms(self) -> float | None:
        """Time inside operators; the rest of a run is spent between them."""
        times = [op.ms for op in self.ops if op.ms is not None]
        return sum(times) if times else None

    @property
    def counted_cycles(self) -> int | None:
        """Cycles of all operators, where an emulator counted them."""
        found = [op.cycles for op in self.ops if op.cycles is not None]
        return sum(found) if found else None

    @property
    def boundaries(self) -> int:
        """How often a run crosses between the accelerated backend and what is outside."""
        return sum(a.inside != b.inside for a, b in pairwise(self.ops))


class ProfileReport(Config):
    """Everything that one `pocketcrafter bench profile` found."""

    schema_version: Literal[1] = 1
    bundle: str
    manifest_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    machine: Machine
    threads: int = Field(ge=1)
    peaks: Peaks | None = Field(None, description="Null where they were not measured.")
    networks: tuple[NetworkProfile, ...]
    skipped: tuple[Skipped, ...] = ()


def read_profile(path: Path) -> ProfileReport:
    """Read a result file.

    Raises
    ------
    ConfigError
        If it is missing, too large or not a result.
    """
    return read_result(path, ProfileReport, "profile", "bench profile --json", MAX_RESULT_BYTES)
