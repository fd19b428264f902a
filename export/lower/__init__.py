"""Lowering: one file a target."""

from collections.abc import Mapping
from typing import Final

from pocketcrafter.export.lower.base import LoweredArtifact, Lowering
from pocketcrafter.export.lower.onnx import OnnxLowering
from pocketcrafter.export.lower.xnnpack import XnnpackLowering
from pocketcrafter.runtime.targets import TargetKind

__all__ = ["LOWERINGS", "LoweredArtifact", "Lowering"]

LOWERINGS: Final[Mapping[TargetKind, Lowering]] = {
    TargetKind.EXECUTORCH_XNNPACK: XnnpackLowering(),
    TargetKind.ONNX: OnnxLowering(),
}
