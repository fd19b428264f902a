"""Profile of the target `litert`: precisions, tools and cost."""

from pocketcrafter.export.lower.profile import (
    DYNAMIC,
    FLOATS,
    NO_PALETTES,
    SIXTEEN_BITS,
    WEIGHTS_ALONE,
    Profile,
    Scheme,
    because,
)
from pocketcrafter.quantize.config import StaticInt8
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.targets import Target


def litert_profile(_: Target) -> Profile:
    """Return the profile of ``litert``."""
    return Profile(
        precisions=(*FLOATS, Precision.INT8),
        refusals=because(
            (SIXTEEN_BITS, "XNNPACK, which runs LiteRT's models on CPUs, has no 16-bit integers"),
            (WEIGHTS_ALONE, "XNNPACK multiplies integer weights by integers, whose range it measures as they come"),
            (
                DYNAMIC,
                "AI Edge Quantizer's linear layers are 37 dB from torchao's simulation of them (40 are asked)",
            ),
            NO_PALETTES,
        ),
        tools=("ai-edge-litert", "litert-torch", "ai-edge-quantizer", "torchao"),
        native_float=Precision.FP32,
        schemes={Precision.INT8: Scheme(StaticInt8(), ("range",))},
        lower_seconds=90,
    )
