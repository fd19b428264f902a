"""The targets a bundle can hold, one row each: what its artifacts are called, what runs and proves them, what it needs.

A row is all that the runtime knows of a target. How artifacts are made for it stands beside its lowering, in the
profile that `pocketcrafter.export.lower` keeps for the target's family.
"""

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from pocketcrafter.runtime.backends.names import BackendName


@dataclass(frozen=True)
class VendorSdk:
    """A toolchain that no extra installs: only its vendor gives it out, or it needs an environment of its own."""

    name: str
    source: str
    """Where it comes from."""
    variable: str
    """Holds the folder that it was unpacked or installed into."""
    content: str
    """What must lie in that folder, in words."""
    packages: tuple[str, ...] = ()
    """Where the folder is a Python environment: what must be installed in it."""

    def folder(self) -> Path | None:
        """Return the folder that the variable names, or `None` where it names none that exists."""
        named = os.environ.get(self.variable, "")
        return Path(named).resolve() if named and Path(named).is_dir() else None


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
_LITERT_TORCH: Final = ("litert-torch==0.10.*", "torch==2.13.*")
LITERT_TORCH: Final = VendorSdk(
    name="litert-torch",
    # Its converter holds typing-extensions below 4.13; pydantic, and with it this package, asks for a newer one.
    source="PyPI, in an environment of its own: python -m venv FOLDER && FOLDER/bin/pip install "
    + " ".join(f"'{package}'" for package in _LITERT_TORCH),
    variable="LITERT_TORCH_ENV",
    content="that folder",
    packages=_LITERT_TORCH,
)


class TargetKind(str):
    """The name of a target: ``<family>``, or ``<family>:<soc or OS>`` where artifacts fit one chip or system only.

    Names are open: a target is legal when it has a row in `TARGETS`. Models check that where they are validated; the
    constructor does not, because rows are made with it.
    """

    __slots__ = ()

    @property
    def family(self) -> str:
        """What it shares with targets that differ in the chip or system alone: the name up to the colon."""
        return self.partition(":")[0]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Take the names of `TARGETS` and no others."""
        return core_schema.no_info_after_validator_function(_known, core_schema.str_schema())

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """List the names that this version knows."""
        return {"type": "string", "title": cls.__name__, "enum": list(TARGETS)}


class Soc(StrEnum):
    """A Qualcomm system-on-chip that QNN context binaries are compiled for."""

    SM8650 = "SM8650"
    SM8750 = "SM8750"
    SM8850 = "SM8850"


SOC_IDS: Final[Mapping[Soc, int]] = {Soc.SM8650: 57, Soc.SM8750: 69, Soc.SM8850: 87}
"""QNN's numbers of the systems-on-chip."""
HTP_ARCHITECTURES: Final[Mapping[Soc, int]] = {Soc.SM8650: 75, Soc.SM8750: 79, Soc.SM8850: 81}
"""Versions of their Hexagon Tensor Processors, which QNN's libraries for them are named after."""


@dataclass(frozen=True)
class Target:
    """One target.

    Attributes
    ----------
    kind
        Its name.
    suffix
        What artifacts' names end in as they are built.
    backend
        What runs its artifacts on this side of a device.
    computes
        Arithmetic of its accelerator, in words.
    proof
        What ``backend`` is, in words.
    socs
        The systems-on-chip that run its artifacts; none where any does.
    twins
        Targets that are compiled of the same graph, for one of its systems-on-chip each. Where nothing here runs its
        artifacts, these are run in their place.
    min_os
        The oldest system that runs its artifacts; `None` where none is named.
    state
        Whether artifacts can keep tensors from call to call.
    sdk
        The toolchain that it is built with, where no extra installs it.
    converted_suffix
        What names end in of artifacts that were converted for an app after they were built.
    awaits
        What no release of its toolchain has yet: the target is declared, and cannot be built. `None` where nothing is
        missing.
    """

    kind: TargetKind
    suffix: str
    backend: BackendName
    computes: str
    proof: str
    socs: tuple[Soc, ...] = ()
    twins: tuple[TargetKind, ...] = ()
    min_os: str | None = None
    state: bool = False
    sdk: VendorSdk | None = None
    converted_suffix: str | None = None
    awaits: str | None = None

    @property
    def soc_names(self) -> str | None:
        """Its systems-on-chip as manifests name them; `None` where any runs its artifacts."""
        return ", ".join(self.socs) or None

    @property
    def suffixes(self) -> tuple[str, ...]:
        """What names of its artifacts may end in."""
        return (self.suffix, *filter(None, (self.converted_suffix,)))


ONNX: Final = TargetKind("onnx")
LITERT: Final = TargetKind("litert")
XNNPACK: Final = TargetKind("executorch-xnnpack")
AUTO_ORDER: Final = (ONNX, XNNPACK)
"""The target that `auto` takes: the first one that a bundle has."""
ORT_SUFFIX: Final = ".ort"
"""What the name of an `onnx` artifact ends in that was written in ONNX Runtime's own format."""


def _qnn_context(soc: Soc) -> Target:
    kind = TargetKind(f"qnn-context:{soc.lower()}")
    return Target(kind, ".onnx", BackendName.QNN_EMULATOR, *_HTP, socs=(soc,))


def _qnn_contexts(singles: Iterable[Target]) -> Target:
    twins = tuple(singles)
    proof = "nothing but a device; QNN's HTP emulator runs the same graph for each system-on-chip"
    return Target(
        TargetKind("qnn-context:multi"),
        ".onnx",
        BackendName.DEVICE,
        _HTP[0],
        proof,
        socs=tuple(soc for twin in twins for soc in twin.socs),
        twins=tuple(twin.kind for twin in twins),
    )


def _qnn_program(soc: Soc) -> Target:
    kind = TargetKind(f"executorch-qnn:{soc.lower()}")
    return Target(kind, ".pte", BackendName.EXECUTORCH_QNN_EMULATOR, *_HTP, socs=(soc,))


def _coreml(version: int) -> Target:
    # Systems before iOS 18 keep nothing between calls.
    kind, state = TargetKind(f"coreml:ios{version}"), version >= 18
    return Target(kind, ".mlpackage", BackendName.MIL_INTERPRETER, *_MIL, min_os=f"iOS {version}", state=state)


def _coreai(version: int) -> Target:
    kind = TargetKind(f"coreai:ios{version}")
    proof = "Apple's own runtime"
    return Target(kind, ".aimodel", BackendName.COREAI, "float16", proof, min_os=f"iOS {version}", state=True)


def _on_device(name: str, sdk: VendorSdk | None = None, awaits: str | None = None) -> Target:
    proof = "nothing but a device"
    return Target(TargetKind(name), ".pte", BackendName.DEVICE, "float16", proof, sdk=sdk, awaits=awaits)


_CPU: Final = "float32, INT8"
_HTP: Final = ("INT8, INT16, float16", "QNN's HTP emulator")
_MIL: Final = ("float16", "the MIL interpreter")
_NO_PARTITIONER: Final = (
    "no release of ExecuTorch has a partitioner for Core AI (its main branch has an experimental CoreAIPartitioner; "
    "1.5.1 has none). Build coreai:ios27 instead, which Apple's runtime runs without ExecuTorch"
)

_ROWS: Final = (
    Target(XNNPACK, ".pte", BackendName.EXECUTORCH, _CPU, "ExecuTorch on the CPU", state=True),
    Target(LITERT, ".tflite", BackendName.LITERT, _CPU, "LiteRT on the CPU", sdk=LITERT_TORCH),
    Target(ONNX, ".onnx", BackendName.ONNXRUNTIME, _CPU, "ONNX Runtime on the CPU", converted_suffix=ORT_SUFFIX),
    *map(_qnn_context, Soc),
    _qnn_contexts(map(_qnn_context, Soc)),
    *map(_coreml, (17, 18, 26)),
    *map(_qnn_program, Soc),
    Target(TargetKind("executorch-coreml"), ".pte", BackendName.MIL_INTERPRETER, *_MIL, min_os="iOS 17"),
    _coreai(27),
    _on_device("executorch-coreai", awaits=_NO_PARTITIONER),
    _on_device("executorch-vulkan"),
    _on_device("executorch-mediatek", MEDIATEK_SDK),
    _on_device("executorch-samsung", SAMSUNG_SDK),
)

TARGETS: Final[Mapping[TargetKind, Target]] = {row.kind: row for row in _ROWS}
"""Every target, by its name."""


def nearest_target(name: str) -> str:
    """Return what to say of a name that no target has: the nearest one, or all of them."""
    near = difflib.get_close_matches(name, TARGETS, n=1, cutoff=0.5)
    return f"did you mean `{near[0]}`?" if near else f"targets are {', '.join(TARGETS)}"


def _known(name: str) -> TargetKind:
    if name not in TARGETS:
        raise ValueError(f"there is no target `{name}`; {nearest_target(name)}")
    return TargetKind(name)
