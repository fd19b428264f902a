"""Which precisions each target has, why it lacks the others, and what is nearest; known without any toolchain."""

from collections.abc import Iterable, Mapping
from typing import Final

from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.targets import COREML_PACKAGES, QNN_CONTEXTS, QNN_PROGRAMS, VENDOR_PROGRAMS, TargetKind

WEIGHT_BITS: Final[Mapping[Precision, int]] = {Precision.W8: 8, Precision.W4: 4}
"""Precisions of weights alone under float arithmetic, and their bits."""

_FLOATS: Final = (Precision.FP32, Precision.FP16)
_SIXTEEN: Final = (Precision.A16W8, Precision.A16W4)
_DYNAMIC: Final = (Precision.W8A8_DYNAMIC, Precision.A8W4_DYNAMIC)
_BLOCKS: Final = (Precision.W8, Precision.W4)
_PALETTES: Final = (Precision.PALETTE6, Precision.PALETTE4)

# The HTP computes no float32: what asks for it runs on the phone's CPU, beside what the HTP runs.
_HTP: Final = (*_FLOATS, Precision.INT8, *_SIXTEEN)
# The Neural Engine computes in float16, and INT8 there is the weights' alone; float32 runs on the phone's other units.
_CORE_ML: Final = (*_FLOATS, Precision.INT8)

LEFT_TO: Final[Mapping[TargetKind, TargetKind]] = {
    **dict.fromkeys(QNN_CONTEXTS, TargetKind.ONNX),
    **dict.fromkeys((*QNN_PROGRAMS, TargetKind.EXECUTORCH_VULKAN), TargetKind.EXECUTORCH_XNNPACK),
}
"""Targets that leave float32 to the CPU beside the accelerator, and the target whose artifact runs there."""


def runs_as(target: TargetKind, precision: Precision) -> TargetKind:
    """Return the target whose artifact a target has: another one's where the CPU beside an accelerator runs it."""
    return LEFT_TO.get(target, target) if precision is Precision.FP32 else target


COMPILED_FROM: Final[Mapping[TargetKind, TargetKind]] = dict.fromkeys(QNN_CONTEXTS, TargetKind.ONNX)
"""Targets that are compiled from another target's artifact, which is quantized once for all of them."""

TOGETHER: Final = (frozenset(QNN_PROGRAMS),)
"""Targets that differ in nothing but what a compiler is told at the end: each set is lowered at once."""


def compiled_precision(precision: Precision) -> Precision:
    """Return the precision of the artifact that such a target is compiled from.

    Where nothing tells the HTP to quantize, it computes in float16.
    """
    return Precision.FP32 if precision is Precision.FP16 else precision


ON_THE_CPU: Final = "On the CPU beside the accelerator, as float32 was asked for: "
"""What is said before how such an artifact was proved."""

PRECISIONS_OF: Final[Mapping[TargetKind, tuple[Precision, ...]]] = {
    TargetKind.ONNX: (Precision.FP32, Precision.INT8, *_BLOCKS, Precision.W8A8_DYNAMIC, *_SIXTEEN),
    TargetKind.EXECUTORCH_XNNPACK: (Precision.FP32, Precision.INT8, *_DYNAMIC),
    **dict.fromkeys(QNN_CONTEXTS, _HTP),
    **dict.fromkeys(QNN_PROGRAMS, _HTP),
    **dict.fromkeys(COREML_PACKAGES, (*_CORE_ML, Precision.W4, *_PALETTES)),
    TargetKind.COREML_IOS17: (*_CORE_ML, *_PALETTES),
    TargetKind.EXECUTORCH_COREML: (*_CORE_ML, Precision.W4),
    TargetKind.EXECUTORCH_VULKAN: _FLOATS,
    **dict.fromkeys(VENDOR_PROGRAMS, (Precision.FP16,)),
}


def _because(*reasons: tuple[Iterable[Precision], str]) -> dict[Precision, str]:
    return {precision: reason for precisions, reason in reasons for precision in precisions}


_NO_PALETTES: Final = (_PALETTES, "only Core ML keeps palettes")
_QUANTIZED: Final = tuple(p for p in Precision if p not in _FLOATS)
_NO_SIXTEEN: Final = "has no 16-bit integers"
_QNN_WHY: Final = _because(
    (_BLOCKS, "the HTP multiplies no floats by integers: its activations have 8 or 16 bits"),
    (_DYNAMIC, "the HTP must know every range before it runs"),
    _NO_PALETTES,
)
_COREML_WHY: Final = _because(
    (_SIXTEEN, f"Core ML {_NO_SIXTEEN}"),
    (_DYNAMIC, "Core ML measures no ranges while it runs, and others need Apple's own runtime to calibrate"),
    ((Precision.W8,), "its INT8 weights have a scale for each output channel, which is int8"),
)

WHY_NOT: Final[Mapping[TargetKind, Mapping[Precision, str]]] = {
    TargetKind.ONNX: _because(
        ((Precision.FP16,), "ONNX Runtime's CPU kernels compute no float16"),
        ((Precision.A8W4_DYNAMIC,), "ONNX Runtime multiplies INT4 weights by floats"),
        _NO_PALETTES,
    ),
    TargetKind.EXECUTORCH_XNNPACK: _because(
        ((Precision.FP16,), "XNNPACK computes float16 on ARM alone, where nothing here could prove it"),
        (_SIXTEEN, f"XNNPACK {_NO_SIXTEEN}"),
        (_BLOCKS, "XNNPACK multiplies integer weights by integers, whose range it measures as they come"),
        _NO_PALETTES,
    ),
    **dict.fromkeys((*QNN_CONTEXTS, *QNN_PROGRAMS), _QNN_WHY),
    **dict.fromkeys(COREML_PACKAGES, _COREML_WHY),
    TargetKind.COREML_IOS17: {**_COREML_WHY, Precision.W4: "scales for blocks of weights need iOS 18"},
    TargetKind.EXECUTORCH_COREML: {
        **_COREML_WHY,
        **dict.fromkeys(_PALETTES, "ExecuTorch hands on scales alone; coreml:ios18 has palettes"),
    },
    TargetKind.EXECUTORCH_VULKAN: dict.fromkeys(_QUANTIZED, "INT8 layers are not all taken by Vulkan"),
    **dict.fromkeys(VENDOR_PROGRAMS, dict.fromkeys(Precision, "not tried without the vendor's SDK")),
}
"""Why a target lacks a precision."""

_NEAREST: Final[Mapping[Precision, tuple[Precision, ...]]] = {
    Precision.FP32: (Precision.FP16,),
    Precision.FP16: (Precision.FP32, Precision.A16W8),
    Precision.INT8: (Precision.W8A8_DYNAMIC, Precision.A16W8, *_FLOATS),
    Precision.A16W8: (Precision.INT8, Precision.W8, *_FLOATS),
    Precision.A16W4: (Precision.A8W4_DYNAMIC, Precision.W4, Precision.PALETTE4, Precision.A16W8, Precision.INT8),
    Precision.W8: (Precision.W8A8_DYNAMIC, Precision.INT8, Precision.A16W8, *_FLOATS),
    Precision.W4: (Precision.A8W4_DYNAMIC, Precision.PALETTE4, Precision.A16W4, Precision.W8, Precision.INT8),
    Precision.W8A8_DYNAMIC: (Precision.W8, Precision.INT8, Precision.A16W8, *_FLOATS),
    Precision.A8W4_DYNAMIC: (Precision.W4, Precision.A16W4, Precision.PALETTE4, Precision.INT8, *_FLOATS),
    Precision.PALETTE6: (Precision.PALETTE4, Precision.W8, Precision.INT8, Precision.A16W8, *_FLOATS),
    Precision.PALETTE4: (Precision.W4, Precision.A8W4_DYNAMIC, Precision.A16W4, Precision.INT8, *_FLOATS),
}
"""What to take in a precision's place: first what costs the same bytes, then what computes alike."""


def nearest_precision(target: TargetKind, precision: Precision) -> Precision:
    """Return what a target has that is nearest to a precision: itself, where the target has it."""
    has = PRECISIONS_OF[target]
    return next((p for p in (precision, *_NEAREST[precision]) if p in has), has[-1])


def refusal(target: TargetKind, precision: Precision) -> str | None:
    """Return why a target lacks a precision and what it has nearest, or `None` where it has it."""
    has = PRECISIONS_OF[target]
    if precision in has:
        return None
    return (
        f"{target} has no {precision}: {WHY_NOT[target][precision]}. The nearest is "
        f"{nearest_precision(target, precision)}; it has {', '.join(has)}."
    )
