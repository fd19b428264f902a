"""Each warning about the Neural Engine, on the smallest graph that earns it."""

import pytest
import torch
from torch import Tensor

from pocketcrafter.export.lower.coreml.coverage import coreml_coverage, lint
from pocketcrafter.export.lower.mil_interpreter.program import Function, Name, Op, Port, TensorType, named_dtype


def _function(*ops: Op) -> Function:
    x = Port("x", TensorType(named_dtype("fp16"), (1, 8, 64, 64)))
    return Function("main", (x,), (), ops, (ops[-1].layer,))


def _op(kind: str, shape: tuple[int | None, ...], dtype: str = "fp16", name: str = "y", **inputs: Name | Tensor) -> Op:
    port = Port(name, TensorType(named_dtype(dtype), shape))
    return Op(kind, {k: (v,) for k, v in ({"x": Name("x")} | inputs).items()}, (port,))


def _const(shape: tuple[int, ...]) -> Op:
    return Op("const", {"val": (torch.zeros(shape),)}, (Port("w", TensorType(named_dtype("fp16"), shape)),))


@pytest.mark.parametrize(
    ("check", "ops"),
    [
        ("symbolic shape", (_op("relu", (1, None, 64, 64)),)),
        ("rank", (_op("relu", (1, 2, 4, 8, 8, 64)),)),
        ("length", (_op("relu", (1, 1, 1, 32768)),)),
        ("float32", (_op("relu", (1, 8, 64, 64), "fp32"),)),
        ("integer", (_op("add", (8,), "int32"),)),
        ("gather", (_op("gather", (1, 8, 64, 64)),)),
        ("linear", (_op("linear", (1, 64)),)),
        ("row", (_op("relu", (1, 512, 64, 33)),)),
        ("kernel", (_const((8, 8, 15, 15)), _op("conv", (1, 8, 64, 64), weight=Name("w")))),
        ("stride", (_const((8, 8, 4, 4)), _op("conv", (1, 8, 16, 16), weight=Name("w")))),
        ("layout", (_op("transpose", (1, 64, 64, 8)), _op("relu", (1, 64, 64, 8)))),
    ],
)
def test_each_check_names_its_layer_and_a_way_out(check: str, ops: tuple[Op, ...]) -> None:
    (found,) = lint(_function(*ops))
    assert found.check == check
    assert found.layers == ("y",)
    assert found.fix


def test_a_plain_convolution_earns_no_warning_and_all_its_macs_are_counted() -> None:
    conv = _op("conv", (1, 16, 32, 32), weight=Name("w"))
    function = _function(_const((16, 8, 3, 3)), conv)
    assert lint(function) == ()
    coverage = coreml_coverage(function)
    assert coverage.macs_total == coverage.macs_delegated == 16 * 32 * 32 * 8 * 9
    assert coverage.delegated_ops == 1


def test_float32_layers_are_not_counted_as_the_engines() -> None:
    conv = _op("conv", (1, 16, 32, 32), "fp32", weight=Name("w"))
    coverage = coreml_coverage(_function(_const((16, 8, 3, 3)), conv))
    assert coverage.share == 0
    (warning,) = coverage.fallbacks
    assert (warning.op, warning.allowed) == ("lint: float32", True)
    assert "in y" in warning.reason
