"""LiteRT models for Android's phones: converted by litert-torch, proved by LiteRT's own interpreter.

Multiply-accumulates are counted in the model; what XNNPACK left to LiteRT's own kernels is named.
"""

import math
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from pocketcrafter.export.lower.litert.convert import apply_recipe, convert
from pocketcrafter.export.lower.measure import (
    Simulation,
    as_tensors,
    compare,
    hold_back,
    measured,
    run_artifact,
    run_torch,
)
from pocketcrafter.export.lower.programs import frozen
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest
from pocketcrafter.quantize.api import quantize
from pocketcrafter.quantize.calibration import Calibration
from pocketcrafter.runtime.backends.base import checked_inputs
from pocketcrafter.runtime.backends.litert import LiteRtBackend, open_interpreter
from pocketcrafter.runtime.bundle.results import Coverage, Fallback, Fidelity, Precision
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import GateError
from pocketcrafter.runtime.files import move
from pocketcrafter.runtime.targets import TargetKind

CONVERSION_GATE_DB: Final = 75.0
"""A float32 model is the network up to float rounding; what is below was converted wrongly.

Of the shipped networks the composition's tilt, a sum of terms that nearly cancel, loses most by another order of sums:
84 dB; all other outputs reach 109 dB.
"""
_PT2E: Final = "the PT2E fake-quantized model in torch"
_HOW: Final = "The .tflite in LiteRT with XNNPACK on this machine's CPU"
_FLOAT16: Final = "float16"
_DELEGATE: Final = "DELEGATE"
_DEQUANTIZE: Final = "DEQUANTIZE"
_ONE_THREAD: Final = 1
_BESIDE: Final = "XNNPACK does not take it; LiteRT's own kernel runs it on the same CPU"
_NO_KERNEL: Final = "its weights are quantized, but it computes in float32; keep it in float32 (keep_fp32)"
_WEIGHT_AT: Final = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED"})
"""Layers whose second input is their weight."""


def lower_litert(request: LoweringRequest) -> dict[TargetKind, LoweredArtifact]:
    """Quantize with PT2E, convert, run; for ``litert``.

    ``int8`` is the fake-quantized model that XNNPACK's programs of ExecuTorch are made of too: its scales go into the
    file as they are. ``fp16`` stores weights in 16 bits and computes in float32 on a CPU; it is a float32 model first,
    which must be the network itself.

    Raises
    ------
    GateError
        If the float32 model is not the network.
    BackendError
        If the converter's environment is not there, or it refuses the network.
    """
    target, out = request.only
    spec, scheme = request.spec, request.scheme(target)
    used, held = hold_back(request.calibration, spec)
    eager = frozen(request.module(), request.keep_fp32)
    reference, simulation = run_torch(eager, held, spec), None
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
        made = Path(name) / "made.tflite"
        if scheme is not None:
            samples = [checked_inputs(sample, spec) for sample in used]
            simulated = quantize(eager, scheme, Calibration(samples), request.progress)
            simulation = Simulation(run_torch(simulated, held, spec), _PT2E)
            convert(simulated, as_tensors(used[0], spec), spec, made)
        else:
            convert(eager, as_tensors(used[0], spec), spec, made)
            actual = run_artifact(LiteRtBackend(), made, held, spec)
            _check_conversion(compare(held, reference, actual, spec), spec)
        if request.precision is Precision.FP16:
            half = Path(name) / "half.tflite"
            apply_recipe(made, _FLOAT16, spec, half)
            made = half
        actual = run_artifact(LiteRtBackend(), made, held, spec)
        result = measured(out, litert_coverage(made.read_bytes()), spec, held, reference, simulation, actual, _HOW)
        move(made, out)
    return {target: result}


def _check_conversion(found: Sequence[Fidelity], spec: ComponentSpec) -> None:
    for fidelity in found:
        if not fidelity.reaches(CONVERSION_GATE_DB):
            raise GateError(
                f"{spec.name} for litert: converted in float32, `{fidelity.output}` is {fidelity.sqnr_db:.1f} dB from "
                f"the network (needed: {CONVERSION_GATE_DB:.0f} dB): litert-torch changed what it computes."
            )


@dataclass(frozen=True)
class _Operator:
    name: str
    reads: tuple[int, ...]
    makes: tuple[int, ...]


def litert_coverage(content: bytes) -> Coverage:
    """Compare a model with what XNNPACK takes of it.

    Parameters
    ----------
    content
        Of a ``.tflite`` file.

    Returns
    -------
    Coverage
        Layers in XNNPACK count as delegated. What LiteRT's own kernels run beside it is listed and allowed, as nothing
        leaves the CPU; a layer with integer weights that computes in float32 is listed and not allowed.
    """
    interpreter = open_interpreter(content, _ONE_THREAD)
    interpreter.allocate_tensors()
    tensors = {int(tensor["index"]): tensor for tensor in interpreter.get_tensor_details()}
    operators = [
        _Operator(op["op_name"], _numbers(op["inputs"]), _numbers(op["outputs"]))
        for op in interpreter._get_ops_details()
    ]
    own = [op for op in operators if op.name != _DELEGATE]
    parts = [op for op in operators if op.name == _DELEGATE]
    outside = _outside(own, parts, [int(tensor["index"]) for tensor in interpreter.get_output_details()])
    missed = [op for op in own if _misses(op, own, tensors)]
    left = [op for op in own if op in outside or op in missed]
    return Coverage(
        macs_total=sum(_macs(op, tensors) for op in own),
        macs_delegated=sum(_macs(op, tensors) for op in own if op not in left),
        delegated_ops=len(own) - len(left),
        subgraphs=len(parts),
        fallbacks=(*_fallbacks(missed, _NO_KERNEL, allowed=False), *_fallbacks(outside, _BESIDE, allowed=True)),
    )


def _outside(own: Sequence[_Operator], parts: Sequence[_Operator], outputs: Sequence[int]) -> list[_Operator]:
    """Return the operators that run by themselves: those that outputs are computed by, but for what parts compute."""
    made_by = {tensor: op for ops in (own, parts) for op in ops for tensor in op.makes}
    waiting, seen = list(outputs), set(outputs)
    found = []
    while waiting:
        op = made_by.get(waiting.pop())
        if op is None:
            continue
        if op.name != _DELEGATE and op not in found:
            found.append(op)
        new = set(op.reads) - seen
        seen |= new
        waiting += new
    return found


def _misses(op: _Operator, own: Sequence[_Operator], tensors: Mapping[int, Any]) -> bool:
    """Whether a layer's weights are integers that are made floats again before it multiplies by them."""
    if op.name not in _WEIGHT_AT:
        return False
    weight = op.reads[1]
    back = next((other for other in own if other.name == _DEQUANTIZE and weight in other.makes), None)
    return back is not None and np.dtype(tensors[back.reads[0]]["dtype"]).kind == "i"


def _fallbacks(ops: Sequence[_Operator], why: str, *, allowed: bool) -> list[Fallback]:
    counts: dict[str, int] = defaultdict(int)
    for op in ops:
        counts[op.name] += 1
    return [Fallback(op=name, count=count, reason=why, allowed=allowed) for name, count in sorted(counts.items())]


def _macs(op: _Operator, tensors: Mapping[int, Any]) -> int:
    def shape(tensor: int) -> tuple[int, ...]:
        return tuple(int(size) for size in tensors[tensor]["shape"])

    if op.name == "CONV_2D":
        return math.prod(shape(op.makes[0])) * math.prod(shape(op.reads[1])[1:])
    if op.name == "DEPTHWISE_CONV_2D":
        return math.prod(shape(op.makes[0])) * math.prod(shape(op.reads[1])[1:3])
    if op.name == "TRANSPOSE_CONV":  # reads the output's shape, the weights, and what is spread by them
        return math.prod(shape(op.reads[2])) * math.prod(shape(op.reads[1])[:3])
    if op.name in {"FULLY_CONNECTED", "BATCH_MATMUL"}:
        return math.prod(shape(op.makes[0])) * shape(op.reads[0])[-1]
    return 0


def _numbers(tensors: Any) -> tuple[int, ...]:  # noqa: ANN401 - an array of the interpreter's
    return tuple(int(tensor) for tensor in tensors)
