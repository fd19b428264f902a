"""The targets a bundle can hold, and how each one's artifacts are named."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class TargetKind(StrEnum):
    """A target; where artifacts fit one system-on-chip or OS only, it ends in ``:<soc or OS>``."""

    EXECUTORCH_XNNPACK = "executorch-xnnpack"
    ONNX = "onnx"
    QNN_SM8650 = "qnn-context:sm8650"
    QNN_SM8750 = "qnn-context:sm8750"
    QNN_SM8850 = "qnn-context:sm8850"
    COREML_IOS17 = "coreml:ios17"
    COREML_IOS18 = "coreml:ios18"
    COREML_IOS26 = "coreml:ios26"
    EXECUTORCH_QNN_SM8650 = "executorch-qnn:sm8650"
    EXECUTORCH_QNN_SM8750 = "executorch-qnn:sm8750"
    EXECUTORCH_QNN_SM8850 = "executorch-qnn:sm8850"
    EXECUTORCH_COREML = "executorch-coreml"
    EXECUTORCH_VULKAN = "executorch-vulkan"
    EXECUTORCH_MEDIATEK = "executorch-mediatek"
    EXECUTORCH_SAMSUNG = "executorch-samsung"


class Soc(StrEnum):
    """A Qualcomm system-on-chip that QNN context binaries are compiled for."""

    SM8650 = "SM8650"
    SM8750 = "SM8750"
    SM8850 = "SM8850"


QNN_CONTEXTS: Final[Mapping[TargetKind, Soc]] = {
    TargetKind.QNN_SM8650: Soc.SM8650,
    TargetKind.QNN_SM8750: Soc.SM8750,
    TargetKind.QNN_SM8850: Soc.SM8850,
}
"""Targets of ONNX Runtime's QNN provider, and their systems-on-chip."""

QNN_PROGRAMS: Final[Mapping[TargetKind, Soc]] = {
    TargetKind.EXECUTORCH_QNN_SM8650: Soc.SM8650,
    TargetKind.EXECUTORCH_QNN_SM8750: Soc.SM8750,
    TargetKind.EXECUTORCH_QNN_SM8850: Soc.SM8850,
}
"""Targets of ExecuTorch's QNN backend, and their systems-on-chip."""

SOC_OF: Final[Mapping[TargetKind, Soc]] = {**QNN_CONTEXTS, **QNN_PROGRAMS}
"""The only system-on-chip that runs a target's artifacts; targets that run on any are not listed."""

COREML_PACKAGES: Final[Mapping[TargetKind, str]] = {
    TargetKind.COREML_IOS17: "iOS 17",
    TargetKind.COREML_IOS18: "iOS 18",
    TargetKind.COREML_IOS26: "iOS 26",
}
"""Targets of Core ML itself, and the oldest systems that run them."""

VENDOR_PROGRAMS: Final = (TargetKind.EXECUTORCH_MEDIATEK, TargetKind.EXECUTORCH_SAMSUNG)
"""Targets of ExecuTorch that need a vendor's SDK, which no registry carries."""

DEVICE_PROGRAMS: Final = (TargetKind.EXECUTORCH_VULKAN, *VENDOR_PROGRAMS)
"""Targets of ExecuTorch whose artifacts nothing but a device runs."""

OS_OF: Final[Mapping[TargetKind, str]] = {**COREML_PACKAGES, TargetKind.EXECUTORCH_COREML: "iOS 17"}
"""The oldest system that runs a target's artifacts, where one is named."""

ARTIFACT_SUFFIX: Final[Mapping[TargetKind, str]] = {
    TargetKind.EXECUTORCH_XNNPACK: ".pte",
    TargetKind.ONNX: ".onnx",
    **dict.fromkeys(QNN_CONTEXTS, ".onnx"),
    **dict.fromkeys((*QNN_PROGRAMS, TargetKind.EXECUTORCH_COREML, *DEVICE_PROGRAMS), ".pte"),
    **dict.fromkeys(COREML_PACKAGES, ".mlpackage"),
}
"""What artifacts' names end in as they are built."""

ORT_SUFFIX: Final = ".ort"
"""What the name of an `onnx` artifact ends in that was written in ONNX Runtime's own format."""


def artifact_suffixes(target: TargetKind) -> tuple[str, ...]:
    """Return what names of a target's artifacts may end in."""
    return (ARTIFACT_SUFFIX[target], *((ORT_SUFFIX,) if target is TargetKind.ONNX else ()))
