"""The backends by name."""

from enum import StrEnum


class BackendName(StrEnum):
    """The backends that a person can choose."""

    ONNXRUNTIME = "onnxruntime"
    EXECUTORCH = "executorch"
    TORCH = "torch"
    QNN_EMULATOR = "qnn-emulator"
    MIL_INTERPRETER = "mil-interpreter"
    EXECUTORCH_QNN_EMULATOR = "executorch-qnn-emulator"
    COREAI = "coreai"
    LITERT = "litert"
    DEVICE = "device"
    """None here: the artifacts run on a phone only."""
