"""The targets a bundle can hold, and how each one's artifacts are named."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class TargetKind(StrEnum):
    """A family of targets; a concrete target may add ``:<soc or OS>``, as in ``qnn-context:SM8750``."""

    EXECUTORCH_XNNPACK = "executorch-xnnpack"
    ONNX = "onnx"


ARTIFACT_SUFFIX: Final[Mapping[TargetKind, str]] = {
    TargetKind.EXECUTORCH_XNNPACK: ".pte",
    TargetKind.ONNX: ".onnx",
}
