"""Which precisions each target has; known without importing any toolchain."""

from collections.abc import Mapping
from typing import Final

from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.targets import COREML_PACKAGES, QNN_CONTEXTS, QNN_PROGRAMS, VENDOR_PROGRAMS, TargetKind

# The HTP computes no float32: what asks for it runs on the phone's CPU, beside what the HTP runs.
_HTP: Final = (Precision.FP32, Precision.INT8, Precision.A16W8)
# The Neural Engine computes in float16, and INT8 there is the weights' alone; float32 runs on the phone's other units.
_CORE_ML: Final = (Precision.FP32, Precision.FP16, Precision.INT8)

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
    **dict.fromkeys((*COREML_PACKAGES, TargetKind.EXECUTORCH_COREML), _CORE_ML),
    TargetKind.EXECUTORCH_VULKAN: (Precision.FP32, Precision.FP16),
    **dict.fromkeys(VENDOR_PROGRAMS, (Precision.FP16,)),
}
