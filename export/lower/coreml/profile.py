"""What Core ML's targets take, as packages of their own and inside ExecuTorch programs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from pocketcrafter.export.lower.profile import (
    DYNAMIC,
    FLOATS,
    NO_SIXTEEN_BITS,
    PALETTES,
    SIXTEEN_BITS,
    Profile,
    Scheme,
    because,
)
from pocketcrafter.quantize.config import CompressedWeights, WeightGrid
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.targets import Target

# The Neural Engine computes in float16, and INT8 there is the weights' alone; float32 runs on the phone's other units.
_PRECISIONS: Final = (*FLOATS, Precision.INT8)
_REFUSALS: Final = because(
    (SIXTEEN_BITS, f"Core ML {NO_SIXTEEN_BITS}"),
    (DYNAMIC, "Core ML measures no ranges while it runs, and others need Apple's own runtime to calibrate"),
    ((Precision.W8,), "its INT8 weights have a scale for each output channel, which is int8"),
)
_TOOLS: Final = ("coremltools",)
_INT8: Final[Mapping[Precision, Scheme]] = {Precision.INT8: Scheme(CompressedWeights(grid=WeightGrid.INT8))}
_INT4: Final = Scheme(CompressedWeights(grid=WeightGrid.INT4), ("group_size",))
OLDEST: Final = "iOS 17"
"""The oldest system of all that packages are made for."""


def coreml_profile(target: Target) -> Profile:
    """Return the profile of ``coreml:<ios>``."""
    if target.min_os == OLDEST:
        why = {Precision.W4: "scales for blocks of weights need iOS 18"}
        schemes = {**_INT8, **_palettes(grouped=False)}
        # Packages of several functions need iOS 18.
        return Profile((*_PRECISIONS, *PALETTES), {**_REFUSALS, **why}, _TOOLS, schemes=schemes)
    schemes = {**_INT8, Precision.W4: replace(_INT4, mixed=True), **_palettes(grouped=True)}
    precisions = (*_PRECISIONS, Precision.W4, *PALETTES)
    return Profile(precisions, _REFUSALS, _TOOLS, schemes=schemes, functions=precisions)


def _palettes(*, grouped: bool) -> dict[Precision, Scheme]:
    grids = {Precision.PALETTE6: WeightGrid.PALETTE6, Precision.PALETTE4: WeightGrid.PALETTE4}
    return {p: Scheme(CompressedWeights(grid=grid, grouped_palettes=grouped)) for p, grid in grids.items()}


def executorch_coreml_profile(_: Target) -> Profile:
    """Return the profile of ``executorch-coreml``."""
    return Profile(
        precisions=(*_PRECISIONS, Precision.W4),
        refusals={**_REFUSALS, **because((PALETTES, "ExecuTorch hands on scales alone; coreml:ios18 has palettes"))},
        tools=("executorch", *_TOOLS),
        schemes={**_INT8, Precision.W4: _INT4},  # ExecuTorch compresses all of a network alike
        lower_seconds=30,
    )
