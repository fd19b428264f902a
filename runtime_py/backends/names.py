"""The backends by name, and which one runs a target's artifacts on this machine."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from pocketcrafter.runtime.targets import COREML_PACKAGES, DEVICE_PROGRAMS, QNN_CONTEXTS, QNN_PROGRAMS, TargetKind


class BackendName(StrEnum):
    """The backends that a person can choose."""

    ONNXRUNTIME = "onnxruntime"
    EXECUTORCH = "executorch"
    TORCH = "torch"
    QNN_EMULATOR = "qnn-emulator"
    MIL_INTERPRETER = "mil-interpreter"
    EXECUTORCH_QNN_EMULATOR = "executorch-qnn-emulator"
    DEVICE = "device"
    """None here: the artifacts run on a phone only."""


BACKEND_OF: Final[Mapping[TargetKind, BackendName]] = {
    TargetKind.ONNX: BackendName.ONNXRUNTIME,
    TargetKind.EXECUTORCH_XNNPACK: BackendName.EXECUTORCH,
    **dict.fromkeys(QNN_CONTEXTS, BackendName.QNN_EMULATOR),
    **dict.fromkeys(QNN_PROGRAMS, BackendName.EXECUTORCH_QNN_EMULATOR),
    **dict.fromkeys((*COREML_PACKAGES, TargetKind.EXECUTORCH_COREML), BackendName.MIL_INTERPRETER),
    **dict.fromkeys(DEVICE_PROGRAMS, BackendName.DEVICE),
}
"""Which backend runs a target's artifacts."""

AUTO_ORDER: Final = (TargetKind.ONNX, TargetKind.EXECUTORCH_XNNPACK)
"""The target that `auto` takes: the first one that a bundle has."""
