"""Profiles of ExecuTorch's targets: XNNPACK, Vulkan, and the processors of MediaTek and Samsung."""

from typing import Final

from pocketcrafter.export.lower.profile import (
    DYNAMIC,
    FLOATS,
    GROUPED,
    NO_PALETTES,
    NO_SIXTEEN_BITS,
    SIXTEEN_BITS,
    WEIGHTS_ALONE,
    Profile,
    Scheme,
    because,
)
from pocketcrafter.quantize.config import DynamicInt8, StaticInt8
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.targets import XNNPACK, Target

_EXECUTORCH: Final = ("executorch",)


def xnnpack_profile(_: Target) -> Profile:
    """Return the profile of ``executorch-xnnpack``."""
    return Profile(
        precisions=(Precision.FP32, Precision.INT8, *DYNAMIC),
        refusals=because(
            ((Precision.FP16,), "XNNPACK computes float16 on ARM alone, where nothing here could prove it"),
            (SIXTEEN_BITS, f"XNNPACK {NO_SIXTEEN_BITS}"),
            (WEIGHTS_ALONE, "XNNPACK multiplies integer weights by integers, whose range it measures as they come"),
            NO_PALETTES,
        ),
        tools=("executorch", "torchao"),
        native_float=Precision.FP32,
        schemes={
            Precision.INT8: Scheme(StaticInt8(), ("range",)),
            Precision.W8A8_DYNAMIC: Scheme(DynamicInt8(bits=8)),
            Precision.A8W4_DYNAMIC: Scheme(DynamicInt8(bits=4), GROUPED, mixed=True),
        },
        decomposed=True,
        functions=(Precision.FP32, *DYNAMIC),
        lower_seconds=60,
    )


def vulkan_profile(_: Target) -> Profile:
    """Return the profile of ``executorch-vulkan``."""
    quantized = tuple(precision for precision in Precision if precision not in FLOATS)
    return Profile(
        precisions=FLOATS,
        refusals=because((quantized, "INT8 layers are not all taken by Vulkan")),
        tools=_EXECUTORCH,
        fp32_runs_on=XNNPACK,
        decomposed=True,
    )


def vendor_profile(_: Target) -> Profile:
    """Return the profile of ``executorch-mediatek`` and ``executorch-samsung``."""
    return Profile(
        precisions=(Precision.FP16,),
        refusals=because((Precision, "not tried without the vendor's SDK")),
        tools=_EXECUTORCH,
        decomposed=True,
    )
