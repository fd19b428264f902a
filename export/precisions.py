"""Which precisions each target has; known without importing any toolchain."""

from collections.abc import Mapping
from typing import Final

from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.targets import COREML_PACKAGES, QNN_CONTEXTS, QNN_PROGRAMS, VENDOR_PROGRAMS, TargetKind

# The HTP computes no float32: a "full precision" artifact would be float16, unmeasured against its own reference.
_HTP: Final = (Precision.INT8, Precision.A16W8)
# The Neural Engine computes in float16; INT8 there is the weights' alone.
_NEURAL_ENGINE: Final = (Precision.FP16, Precision.INT8)

PRECISIONS_OF: Final[Mapping[TargetKind, tuple[Precision, ...]]] = {
    TargetKind.ONNX: (Precision.FP32, Precision.INT8, Precision.W8, Precision.W4),
    TargetKind.EXECUTORCH_XNNPACK: (
        Precision.FP32,
        Precision.INT8,
        Precision.W8A8_DYNAMIC,
        Precision.A8W4_DYNAMIC,
    ),
    **dict.fromkeys(QNN_CONTEXTS, _HTP),
    **dict.fromkeys(QNN_PROGRAMS, (*_HTP, Precision.A16W4, Precision.FP16)),
    **dict.fromkeys((*COREML_PACKAGES, TargetKind.EXECUTORCH_COREML), _NEURAL_ENGINE),
    TargetKind.EXECUTORCH_VULKAN: (Precision.FP32, Precision.FP16),
    **dict.fromkeys(VENDOR_PROGRAMS, (Precision.FP16,)),
}
