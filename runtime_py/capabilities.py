"""What each target can do and what it needs: how its artifacts are proved here, whether they keep state, whose SDK."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pocketcrafter.runtime.backends.names import BACKEND_OF, BackendName
from pocketcrafter.runtime.backends.registry import why_unusable
from pocketcrafter.runtime.targets import COREML_PACKAGES, QNN_CONTEXTS, QNN_PROGRAMS, TargetKind


@dataclass(frozen=True)
class VendorSdk:
    """A toolchain that only its vendor gives out."""

    name: str
    source: str
    """Where it comes from."""
    variable: str
    """Holds the folder that it was unpacked or installed into."""
    content: str
    """What must lie in that folder, in words."""

    def folder(self) -> Path | None:
        """Return the folder that the variable names, or `None` where it names none that exists."""
        named = os.environ.get(self.variable, "")
        return Path(named).resolve() if named and Path(named).is_dir() else None

    def missing(self) -> str | None:
        """Return what to get and which variable to set, or `None` when the variable leads to a folder."""
        if self.folder() is not None:
            return None
        named = os.environ.get(self.variable, "")
        state = f"{self.variable} is {named!r}, which is no folder" if named else f"{self.variable} is not set"
        return f"needs the vendor SDK {self.name} ({self.source}); set {self.variable} to {self.content} ({state})"


MEDIATEK_SDK: Final = VendorSdk(
    name="NeuroPilot Express",
    source="MediaTek, https://neuropilot.mediatek.com",
    variable="NEUROPILOT_SDK_ROOT",
    content="the folder that its wheels mtk_converter and mtk_neuron were installed into (pip install --target)",
)
SAMSUNG_SDK: Final = VendorSdk(
    name="Exynos AI LiteCore",
    source="Samsung, https://soc-developer.semiconductor.samsung.com",
    variable="EXYNOS_AI_LITECORE_ROOT",
    content="its unpacked folder (LD_LIBRARY_PATH to its lib64; ExecuTorch must be built with its Samsung backend)",
)


@dataclass(frozen=True)
class Capability:
    """What one target can do."""

    computes: str
    """Arithmetic of its accelerator, in words."""
    proof: str
    """What runs its artifacts on this side of a device."""
    state: bool
    """Whether an artifact can keep tensors from call to call."""
    sdk: VendorSdk | None = None


CAPABILITIES: Final[Mapping[TargetKind, Capability]] = {
    TargetKind.ONNX: Capability("float32, INT8", "ONNX Runtime on the CPU", state=False),
    TargetKind.EXECUTORCH_XNNPACK: Capability("float32, INT8", "ExecuTorch on the CPU", state=True),
    **{
        target: Capability("INT8, INT16, float16", "QNN's HTP emulator", state=False)
        for target in (*QNN_CONTEXTS, *QNN_PROGRAMS)
    },
    **{
        target: Capability("float16", "the MIL interpreter", state=target is not TargetKind.COREML_IOS17)
        for target in COREML_PACKAGES
    },
    TargetKind.EXECUTORCH_COREML: Capability("float16", "the MIL interpreter", state=False),
    TargetKind.EXECUTORCH_VULKAN: Capability("float16", "nothing but a device", state=False),
    TargetKind.EXECUTORCH_MEDIATEK: Capability("float16", "nothing but a device", state=False, sdk=MEDIATEK_SDK),
    TargetKind.EXECUTORCH_SAMSUNG: Capability("float16", "nothing but a device", state=False, sdk=SAMSUNG_SDK),
}
"""Every target."""


def why_not_buildable(target: TargetKind) -> str | None:
    """Return why a target's artifacts cannot be built here and what mends it, or `None` when they can.

    A target whose artifacts a device alone runs can be built all the same: what is not proved here is told as not run.
    """
    if sdk := CAPABILITIES[target].sdk:
        return sdk.missing()
    backend = BACKEND_OF[target]
    return None if backend is BackendName.DEVICE else why_unusable(backend)


def with_sdk(targets: Iterable[TargetKind]) -> tuple[TargetKind, ...]:
    """Return the targets but those whose vendor's SDK is not here."""
    sdks = {target: CAPABILITIES[target].sdk for target in targets}
    return tuple(target for target, sdk in sdks.items() if sdk is None or sdk.folder() is not None)
