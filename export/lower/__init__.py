"""Lowering: one file a target."""

from collections.abc import Mapping
from typing import Final

from pocketcrafter.export.lower.base import LoweredArtifact, Lowering
from pocketcrafter.export.lower.coreml import CoremlLowering
from pocketcrafter.export.lower.executorch_qnn import ExecutorchQnnLowering
from pocketcrafter.export.lower.onnx import OnnxLowering
from pocketcrafter.export.lower.qnn_context import QnnContextLowering
from pocketcrafter.export.lower.xnnpack import XnnpackLowering
from pocketcrafter.runtime.targets import OS_OF, QNN_CONTEXTS, QNN_PROGRAMS, TargetKind

__all__ = ["LOWERINGS", "LoweredArtifact", "Lowering"]

LOWERINGS: Final[Mapping[TargetKind, Lowering]] = {
    TargetKind.EXECUTORCH_XNNPACK: XnnpackLowering(),
    TargetKind.ONNX: OnnxLowering(),
    **{target: QnnContextLowering(target) for target in QNN_CONTEXTS},
    **{target: ExecutorchQnnLowering(target) for target in QNN_PROGRAMS},
    **{target: CoremlLowering(target) for target in OS_OF},
}
