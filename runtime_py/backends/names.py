"""The backends by name, and which one runs a target's artifacts on this machine."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from pocketcrafter.runtime.targets import OS_OF, TargetKind


class BackendName(StrEnum):
    """The backends that a person can choose."""

    ONNXRUNTIME = "onnxruntime"
    EXECUTORCH = "executorch"
    TORCH = "torch"
    QNN_EMULATOR = "qnn-emulator"
    MIL_INTERPRETER = "mil-interpreter"


BACKEND_OF: Final[Mapping[TargetKind, BackendName]] = {
    TargetKind.ONNX: BackendName.ONNXRUNTIME,
    TargetKind.EXECUTORCH_XNNPACK: BackendName.EXECUTORCH,
    TargetKind.QNN_SM8650: BackendName.QNN_EMULATOR,
    TargetKind.QNN_SM8750: BackendName.QNN_EMULATOR,
    TargetKind.QNN_SM8850: BackendName.QNN_EMULATOR,
    **dict.fromkeys(OS_OF, BackendName.MIL_INTERPRETER),
}
"""Which backend runs a target's artifacts."""

AUTO_ORDER: Final = (TargetKind.ONNX, TargetKind.EXECUTORCH_XNNPACK)
"""The target that `auto` takes: the first one that a bundle has."""
