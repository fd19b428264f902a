"""The registry of lowerings: one line for each family of targets."""

from collections.abc import Callable, Mapping
from typing import Final

from pocketcrafter.export.lower.base import Lowering
from pocketcrafter.export.lower.coreml.executorch import ExecutorchCoremlLowering
from pocketcrafter.export.lower.coreml.lowering import CoremlLowering
from pocketcrafter.export.lower.executorch.vendor import VendorLowering
from pocketcrafter.export.lower.executorch.vulkan import VulkanLowering
from pocketcrafter.export.lower.executorch.xnnpack import XnnpackLowering
from pocketcrafter.export.lower.onnx.lowering import OnnxLowering
from pocketcrafter.export.lower.qnn.context import QnnContextLowering
from pocketcrafter.export.lower.qnn.executorch import ExecutorchQnnLowering
from pocketcrafter.runtime.targets import ONNX, TARGETS, TargetKind

_BY_FAMILY: Final[Mapping[str, Callable[[TargetKind], Lowering]]] = {
    "onnx": lambda _: OnnxLowering(),
    "executorch-xnnpack": lambda _: XnnpackLowering(),
    "qnn-context": QnnContextLowering,
    "coreml": CoremlLowering,
    "executorch-qnn": ExecutorchQnnLowering,
    "executorch-coreml": lambda _: ExecutorchCoremlLowering(),
    "executorch-vulkan": lambda _: VulkanLowering(),
    "executorch-mediatek": VendorLowering,
    "executorch-samsung": VendorLowering,
}

LOWERINGS: Final[Mapping[TargetKind, Lowering]] = {kind: _BY_FAMILY[kind.family](kind) for kind in TARGETS}
TO_COMPILE: Final[Mapping[TargetKind, Lowering]] = {ONNX: OnnxLowering(for_cpu=False)}
"""How a target is lowered whose artifact another one's compiler reads."""
