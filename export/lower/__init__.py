"""Lowering: one file a target.

The same network, samples and tools give the same bytes on ``onnx``, ``executorch-xnnpack``, ``coreml:<ios>`` and
``executorch-vulkan``. It is tested of the first three; of Vulkan, two whole builds came out equal. On the QNN targets
they do not: their binaries equal each other only in what they compute. Nor on ``executorch-coreml``, whose packages get
random names inside ExecuTorch.
"""

from collections.abc import Mapping
from typing import Final

from pocketcrafter.export.lower.base import LoweredArtifact, Lowering
from pocketcrafter.export.lower.coreml import CoremlLowering
from pocketcrafter.export.lower.executorch_coreml import ExecutorchCoremlLowering
from pocketcrafter.export.lower.executorch_qnn import ExecutorchQnnLowering
from pocketcrafter.export.lower.executorch_vendor import VendorLowering
from pocketcrafter.export.lower.executorch_vulkan import VulkanLowering
from pocketcrafter.export.lower.onnx import OnnxLowering
from pocketcrafter.export.lower.qnn_context import QnnContextLowering
from pocketcrafter.export.lower.xnnpack import XnnpackLowering
from pocketcrafter.runtime.targets import COREML_PACKAGES, QNN_CONTEXTS, QNN_PROGRAMS, VENDOR_PROGRAMS, TargetKind

__all__ = ["LOWERINGS", "TO_COMPILE", "LoweredArtifact", "Lowering"]

LOWERINGS: Final[Mapping[TargetKind, Lowering]] = {
    TargetKind.EXECUTORCH_XNNPACK: XnnpackLowering(),
    TargetKind.ONNX: OnnxLowering(),
    **{target: QnnContextLowering(target) for target in QNN_CONTEXTS},
    **{target: ExecutorchQnnLowering(target) for target in QNN_PROGRAMS},
    **{target: CoremlLowering(target) for target in COREML_PACKAGES},
    TargetKind.EXECUTORCH_COREML: ExecutorchCoremlLowering(),
    TargetKind.EXECUTORCH_VULKAN: VulkanLowering(),
    **{target: VendorLowering(target) for target in VENDOR_PROGRAMS},
}

TO_COMPILE: Final[Mapping[TargetKind, Lowering]] = {TargetKind.ONNX: OnnxLowering(for_cpu=False)}
"""How a target is lowered whose artifact another one's compiler reads."""
