"""Profile of the target `onnx`: precisions, tools and cost."""

from typing import Final

from pocketcrafter.export.lower.profile import (
    GROUPED,
    NO_PALETTES,
    QDQ_SCHEMES,
    SIXTEEN_BITS,
    WEIGHTS_ALONE,
    Profile,
    Scheme,
    because,
)
from pocketcrafter.quantize.config import DynamicInt8, WeightOnly
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.targets import Target

_PRODUCTS: Final = (*GROUPED, "activation_bits")


def onnx_profile(_: Target) -> Profile:
    """Return the profile of ``onnx``."""
    return Profile(
        precisions=(Precision.FP32, Precision.INT8, *WEIGHTS_ALONE, Precision.W8A8_DYNAMIC, *SIXTEEN_BITS),
        refusals=because(
            ((Precision.FP16,), "ONNX Runtime's CPU kernels compute no float16"),
            ((Precision.A8W4_DYNAMIC,), "ONNX Runtime multiplies INT4 weights by floats"),
            NO_PALETTES,
        ),
        tools=("onnx", "onnxscript", "onnxruntime", "nncf"),
        native_float=Precision.FP32,
        functions=(Precision.FP32, *WEIGHTS_ALONE, Precision.W8A8_DYNAMIC),
        schemes={
            **QDQ_SCHEMES,
            Precision.W8A8_DYNAMIC: Scheme(DynamicInt8()),
            Precision.W8: Scheme(WeightOnly(bits=8), _PRODUCTS, mixed=True),
            Precision.W4: Scheme(WeightOnly(bits=4), _PRODUCTS, mixed=True),
        },
    )
