"""The roofline of a network on a chip: the least time that its arithmetic and its memory traffic can take."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field, PositiveFloat

from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import ComponentName
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.validation import check

if TYPE_CHECKING:
    from pocketcrafter.benchmarks.profile.layers import Layer

SOCS_FILE: Final = Path(__file__).with_name("socs.yaml")


class Soc(Config):
    """A chip's published peaks."""

    name: str
    int8_tops: PositiveFloat = Field(description="Trillions of operations a second, two a MAC.")
    int8_source: str
    memory_gb_per_s: PositiveFloat
    memory_source: str


class Arithmetic(Config):
    """What a precision costs: bytes of a weight and an activation, and its rate as a share of INT8's."""

    weight_bytes: float
    activation_bytes: float
    rate: float


ARITHMETIC: Final[Mapping[Precision, Arithmetic]] = {
    Precision.INT8: Arithmetic(weight_bytes=1, activation_bytes=1, rate=1.0),
    Precision.A16W8: Arithmetic(weight_bytes=1, activation_bytes=2, rate=0.5),
    Precision.FP16: Arithmetic(weight_bytes=2, activation_bytes=2, rate=0.25),
}
"""The rates of 16 bits are an assumption (a half and a quarter of INT8's): vendors publish none."""


class NetworkEstimate(Config):
    """One network's lower bounds."""

    label: Literal["estimate"] = "estimate"
    component: ComponentName
    precision: Precision
    macs: int
    weight_bytes: float
    activation_bytes: float = Field(description="Read and written by all layers, were none kept on the chip.")
    compute_ms: float = Field(description="All MACs at the peak rate.")
    best_ms: float = Field(description="Every activation stays on the chip: only weights come from memory.")
    worst_ms: float = Field(description="Every activation goes to memory and back, layer by layer.")


class EstimateReport(Config):
    """Everything that one `pocketcrafter bench estimate` computed; none of it was measured."""

    label: Literal["estimate"] = "estimate"
    bundle: str
    soc: str
    peaks: Soc
    networks: tuple[NetworkEstimate, ...]


def load_socs(path: Path = SOCS_FILE) -> dict[str, Soc]:
    """Read the table of chips.

    Raises
    ------
    ConfigError
        If it is not what it should be.
    """
    from pocketcrafter.export.yaml_file import read_yaml  # noqa: PLC0415 - of an extra; --help does without

    rows = read_yaml(path)
    if not isinstance(rows, dict):
        raise ConfigError(f"{path}: no table of chips: a mapping of names to their peak figures is needed.")
    return {str(name): check(Soc, row, f"{path}: {name}") for name, row in rows.items()}


def estimate(component: str, layers: "Sequence[Layer]", precision: Precision, soc: Soc) -> NetworkEstimate:
    """Return a network's roofline (Williams et al., CACM 2009), layer by layer, one after the other.

    Parameters
    ----------
    component, layers
        The network, as `layers_of` lists it.
    precision
        One of `ARITHMETIC`.
    soc
        The chip.

    Raises
    ------
    ConfigError
        If nothing is known of the precision.

    Notes
    -----
    Each layer takes the longer of its arithmetic and its traffic. A real chip adds what this leaves out: starting
    layers, unused lanes (depthwise convolutions leave most idle), heat.
    """
    if precision not in ARITHMETIC:
        raise ConfigError(f"Nothing is published of {precision} on phones; estimate {', '.join(ARITHMETIC)}.")
    costs = ARITHMETIC[precision]
    macs_per_ms = soc.int8_tops * 1e12 / 2 * costs.rate / 1e3
    bytes_per_ms = soc.memory_gb_per_s * 1e9 / 1e3
    best = worst = 0.0
    for layer in layers:
        compute = layer.macs / macs_per_ms
        weights = layer.weights * costs.weight_bytes / bytes_per_ms
        activations = (layer.read + layer.written) * costs.activation_bytes / bytes_per_ms
        best += max(compute, weights)
        worst += max(compute, weights + activations)
    macs = sum(layer.macs for layer in layers)
    return NetworkEstimate(
        component=component,
        precision=precision,
        macs=macs,
        weight_bytes=sum(layer.weights for layer in layers) * costs.weight_bytes,
        activation_bytes=sum(layer.read + layer.written for layer in layers) * costs.activation_bytes,
        compute_ms=macs / macs_per_ms,
        best_ms=best,
        worst_ms=worst,
    )
