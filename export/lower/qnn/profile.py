"""Profiles of the targets on Qualcomm's HTP, behind ONNX Runtime and behind ExecuTorch."""

from typing import Final

from pocketcrafter.export.lower.profile import (
    DYNAMIC,
    FLOATS,
    NO_PALETTES,
    QDQ_SCHEMES,
    SIXTEEN_BITS,
    WEIGHTS_ALONE,
    Profile,
    because,
)
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.targets import ONNX, XNNPACK, Target

# The HTP computes no float32: what asks for it runs on the phone's CPU, beside what the HTP runs.
_PRECISIONS: Final = (*FLOATS, Precision.INT8, *SIXTEEN_BITS)
_REFUSALS: Final = because(
    (WEIGHTS_ALONE, "the HTP multiplies no floats by integers: its activations have 8 or 16 bits"),
    (DYNAMIC, "the HTP must know every range before it runs"),
    NO_PALETTES,
)
_EMULATED_SECONDS: Final = 15.0


def qnn_context_profile(target: Target) -> Profile:
    """Return the profile of ``qnn-context:<soc>``."""
    return Profile(
        precisions=_PRECISIONS,
        refusals=_REFUSALS,
        tools=("onnx", "onnxscript", "onnxruntime", "onnxruntime-qnn"),
        fp32_runs_on=ONNX,
        compiled_from=ONNX,
        # Of a model with further functions no activation ranges are calibrated; one file for several systems-on-chip
        # holds one graph.
        functions=() if target.twins else FLOATS,
        schemes=QDQ_SCHEMES,
        decomposed=True,
        prove_seconds=_EMULATED_SECONDS,
    )


def executorch_qnn_profile(_: Target) -> Profile:
    """Return the profile of ``executorch-qnn:<soc>``."""
    return Profile(
        precisions=_PRECISIONS,
        refusals=_REFUSALS,
        tools=("executorch", "torchao", "onnxruntime-qnn"),
        fp32_runs_on=XNNPACK,
        together=True,
        decomposed=True,
        lower_seconds=80,
        prove_seconds=_EMULATED_SECONDS,
    )
