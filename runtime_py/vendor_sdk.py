"""Toolchains that only their vendors give out: where each comes from and how this program is told where it lies."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final


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
