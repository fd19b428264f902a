"""What `pocketcrafter bisect` found: the layers of an artifact, and how they are ranked."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol, TypeVar

from pydantic import Field

from pocketcrafter.benchmarks.common.result_files import read_result
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import ComponentName
from pocketcrafter.runtime.config import Config

_MAX_BYTES: Final = 64 << 20
_STRANGE_DB: Final = 30.0
"""A layer stands out whose error is larger, without what rounding explains of it."""


class Ranked(Protocol):
    """What layers are ranked by; see `LayerError`."""

    @property
    def fault_db(self) -> float:
        """What rounding does not explain."""
        ...

    @property
    def local_db(self) -> float:
        """The layer's own error."""
        ...


R = TypeVar("R", bound=Ranked)


def ranked(errors: Iterable[R]) -> list[R]:
    """Return layers by what their precision does not explain, the worst first; of equal ones by their own error."""
    return sorted(errors, key=lambda error: (error.fault_db, error.local_db))


class LayerRow(Config):
    """One layer that the artifact shows."""

    node: str = Field(description="The torch operator in the exported graph.")
    layer: str = Field(description="The torch module that it belongs to, or `forward: <node>`.")
    op: str
    local_db: float = Field(description="Output against torch's on the artifact's own inputs: this layer's own error.")
    rounding_db: float = Field(description="What rounding to the precision's levels alone does to that output.")
    fault_db: float = Field(description="Own error without what twice that rounding explains; layers are ranked by it.")
    drift_db: float = Field(description="Output against the full-precision network's own: what came together.")


class BisectReport(Config):
    """The layers of one component on one target, in running order; 1000 dB stands for equality, -1000 for nothing."""

    bundle: str
    component: ComponentName
    target: str
    precision: Precision
    operators: int = Field(description="Operators of the network; those that the artifact does not show are skipped.")
    layers: tuple[LayerRow, ...]

    @property
    def ranked(self) -> list[LayerRow]:
        """The layers by what their precision does not explain, the worst first."""
        return ranked(self.layers)

    @property
    def strange(self) -> list[LayerRow]:
        """The layers whose error their precision does not explain, the worst first."""
        return [row for row in self.ranked if row.fault_db < _STRANGE_DB]


def read_bisect(path: Path) -> BisectReport:
    """Read a result of `pocketcrafter bisect --json`.

    Raises
    ------
    ConfigError
        If it is missing, too large or something else.
    """
    return read_result(path, BisectReport, "layers", "bisect --json", _MAX_BYTES)
