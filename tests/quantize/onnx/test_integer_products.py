"""Integer products at their largest: exact in our sessions on this processor and on one whose kernels saturate."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from pocketcrafter.quantize.onnx.storage import store_unsigned

_DEPTH, _WIDTH = 64, 32
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A product at its largest, whose exact result is known without it."""

    model: ModelProto
    inputs: Arrays
    expected: np.ndarray
    saturates: bool = True
    """Whether AVX2's kernel does, for signed weights."""


def _case(nodes: list[NodeProto], inputs: Arrays, constants: Arrays, expected: np.ndarray, **facts: bool) -> Case:
    ends = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in inputs.items()
    ]
    result = helper.make_tensor_value_info("y", helper.np_dtype_to_tensor_dtype(expected.dtype), expected.shape)
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "product", ends, [result], stored)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return Case(helper.make_model(graph, opset_imports=opsets, ir_version=10), inputs, expected, **facts)


def _weights(outputs: int, *others: int) -> np.ndarray:
    """Return weights of 127, those of every other output -127."""
    signs = np.where(np.arange(outputs) % 2, -127, 127).astype(np.int8)
    return np.broadcast_to(signs.reshape(-1, *(1 for _ in others)), (outputs, *others)).copy()


def _product(name: str) -> Case:
    """Return MatMulInteger as it is, or between a dynamic quantization and its scales, with a bias or without."""
    weight = _weights(_WIDTH, _DEPTH).T.copy()
    integers = np.full((4, _DEPTH), 255, np.uint8).astype(np.int32) @ weight
    if name == "MatMulInteger":
        node = helper.make_node("MatMulInteger", ["x", "w"], ["y"])
        return _case([node], {"x": np.full((4, _DEPTH), 255, np.uint8)}, {"w": weight}, integers)
    biased = name.endswith("bias")
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["levels", "step", "zero"]),
        helper.make_node("MatMulInteger", ["levels", "w", "zero", "zeros"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["step", "steps"], ["scale"]),
        helper.make_node("Mul", ["floats", "scale"], ["scaled" if biased else "y"]),
        *([helper.make_node("Add", ["scaled", "bias"], ["y"])] if biased else []),
    ]
    constants = {"w": weight, "zeros": np.zeros(_WIDTH, np.int8), "steps": np.full(_WIDTH, 1 / 127, np.float32)}
    if biased:
        constants["bias"] = np.ones(_WIDTH, np.float32)
    expected = (integers / 127 / 255 + biased).astype(np.float32)
    return _case(nodes, {"x": np.ones((4, _DEPTH), np.float32)}, constants, expected)


def _linear(name: str) -> Case:
    """Return a linear layer between QDQ pairs: QGemm with a bias, QLinearMatMul without."""
    biased = name == "QGemm"
    weight = _weights(_WIDTH, _DEPTH) if biased else np.full((_DEPTH, _WIDTH), 127, np.int8)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["levels"]),
        helper.make_node("DequantizeLinear", ["levels", "one", "zero"], ["data"]),
        helper.make_node("DequantizeLinear", ["w", "steps", "zeros"], ["weight"], **({"axis": 0} if biased else {})),
        *([helper.make_node("DequantizeLinear", ["b", "steps", "none"], ["bias"], axis=0)] if biased else []),
        helper.make_node("Gemm", ["data", "weight", "bias"], ["sums"], transB=1)
        if biased
        else helper.make_node("MatMul", ["data", "weight"], ["sums"]),
        helper.make_node("QuantizeLinear", ["sums", "step", "middle"], ["rounded"]),
        helper.make_node("DequantizeLinear", ["rounded", "step", "middle"], ["y"]),
    ]
    constants = {
        "one": np.float32(1), "zero": np.uint8(0), "w": weight,
        "steps": np.ones(_WIDTH, np.float32) if biased else np.float32(1),
        "zeros": np.zeros(_WIDTH, np.int8) if biased else np.int8(0),
        "step": np.float32(_DEPTH * 127 * 2), "middle": np.uint8(128),
        **({"b": np.zeros(_WIDTH, np.int32), "none": np.zeros(_WIDTH, np.int32)} if biased else {}),
    }  # fmt: skip
    signs = np.where(np.arange(_WIDTH) % 2, -1, 1) if biased else np.ones(_WIDTH)
    levels = np.clip(np.rint(signs * 255 / 2), -128, 127)
    expected = np.broadcast_to(levels * constants["step"], (4, _WIDTH)).astype(np.float32)
    return _case(nodes, {"x": np.full((4, _DEPTH), 255, np.float32)}, constants, expected)


def _convolution(size: int, groups: int, *, conditioned: bool = False) -> Case:
    """Return QLinearConv, ``conditioned`` with steps that are computed, as `scales_in_convolutions` leaves them."""
    channels = 16
    weight = _weights(channels, channels // groups, size, size)
    step = channels // groups * size * size * 127 * 2
    inputs = {"x": np.full((1, channels, 8, 8), 255, np.uint8)}
    constants = {
        "one": np.float32(1), "zero": np.uint8(0), "w": weight, "zeros": np.zeros(channels, np.int8),
        "step": np.float32(step), "middle": np.uint8(128),
    }  # fmt: skip
    (inputs if conditioned else constants)["steps"] = np.ones(channels, np.float32)
    node = helper.make_node(
        "QLinearConv", ["x", "one", "zero", "w", "steps", "zeros", "step", "middle"], ["y"], group=groups
    )
    levels = np.clip(128 + np.rint(np.where(np.arange(channels) % 2, -1, 1) * 255 / 2), 0, 255).astype(np.uint8)
    expected = np.broadcast_to(levels.reshape(1, -1, 1, 1), (1, channels, 9 - size, 9 - size)).copy()
    return _case([node], inputs, constants, expected, saturates=groups != channels)


def _blocks(bits: int) -> Case:
    """Return MatMulNBits with integer products: the lowest level, and for every other output the highest."""
    block = 32
    level = np.where(np.arange(_WIDTH) % 2, (1 << bits) - 1, 0)
    byte = sum(level << (bits * place) for place in range(8 // bits)).astype(np.uint8)
    packs = np.broadcast_to(byte[:, None, None], (_WIDTH, _DEPTH // block, block * bits // 8)).copy()
    node = helper.make_node(
        "MatMulNBits", ["x", "w", "steps"], ["y"], domain="com.microsoft",
        K=_DEPTH, N=_WIDTH, bits=bits, block_size=block, accuracy_level=4,
    )  # fmt: skip
    constants = {"w": packs, "steps": np.ones(_WIDTH * _DEPTH // block, np.float32)}
    x = np.stack([np.ones(_DEPTH), -np.ones(_DEPTH)]).astype(np.float32)
    expected = x @ np.broadcast_to(level - (1 << (bits - 1)), (_DEPTH, _WIDTH)).astype(np.float32)
    return _case([node], {"x": x}, constants, expected, saturates=False)


CASES: dict[str, Callable[[], Case]] = {
    "MatMulInteger": lambda: _product("MatMulInteger"),
    "MatMulIntegerToFloat": lambda: _product("dynamic"),
    "DynamicQuantizeMatMul": lambda: _product("dynamic bias"),
    "QGemm": lambda: _linear("QGemm"),
    "QLinearMatMul": lambda: _linear("QLinearMatMul"),
    "QLinearConv-3x3": lambda: _convolution(3, 1),
    "QLinearConv-1x1": lambda: _convolution(1, 1),
    "QLinearConv-grouped": lambda: _convolution(3, 2),
    "QLinearConv-depthwise": lambda: _convolution(3, 16),
    "QLinearConv-conditioned": lambda: _convolution(3, 1, conditioned=True),
    "MatMulNBits-2": lambda: _blocks(2),
    "MatMulNBits-4": lambda: _blocks(4),
    "MatMulNBits-8": lambda: _blocks(8),
}
"""Every integer operator of the graphs that we write, or that ONNX Runtime makes of them."""


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Case]]:
    """The cases, and a folder that holds each as it is written and, where it has signed weights, stored unsigned."""
    folder, made = tmp_path_factory.mktemp("products"), {name: build() for name, build in CASES.items()}
    for name, case in made.items():
        onnx.save(case.model, folder / f"{name}.onnx")
        unsigned = ModelProto()
        unsigned.CopyFrom(case.model)
        store_unsigned(unsigned)
        onnx.save(unsigned, folder / f"{name}.unsigned.onnx")
        for stem in (name, f"{name}.unsigned"):
            np.savez(folder / f"{stem}.npz", allow_pickle=False, **case.inputs)
    return folder, made


def _run(python: tuple[str, ...], folder: Path) -> dict[str, np.ndarray]:
    out = folder / "results.npz"
    script = Path(__file__).with_name("run_products.py")
    command = [*python, script, folder, out]
    run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert run.returncode == 0, run.stderr[-2000:]
    with np.load(out, allow_pickle=False) as results:
        return dict(results)


@pytest.fixture(scope="module")
def here(cases: tuple[Path, dict[str, Case]]) -> dict[str, np.ndarray]:
    return _run((sys.executable,), cases[0])


@pytest.fixture(scope="module")
def avx2(avx2_python: tuple[str, ...], cases: tuple[Path, dict[str, Case]]) -> dict[str, np.ndarray]:
    return _run(avx2_python, cases[0])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("processor", ["here", "avx2"])
def test_the_largest_products_are_exact(
    request: pytest.FixtureRequest, cases: tuple[Path, dict[str, Case]], processor: str, name: str
) -> None:
    results, expected = request.getfixturevalue(processor), cases[1][name].expected
    for how in (f"{name}/ours", f"{name}.unsigned/ours", f"{name}.unsigned/unoptimized"):
        np.testing.assert_allclose(results[how], expected, rtol=1e-5, err_msg=how)


@pytest.mark.parametrize("name", CASES)
def test_the_emulated_processor_saturates(
    avx2: dict[str, np.ndarray], cases: tuple[Path, dict[str, Case]], name: str
) -> None:
    """ONNX Runtime takes its kernels for AVX2 there: the other tests of it would fail without what they test."""
    assert avx2["saturates"]
    case = cases[1][name]
    error = np.abs(avx2[f"{name}/alone"].astype(float) - case.expected).max() / np.abs(case.expected).max()
    assert bool(error > 0.1) is case.saturates


@pytest.mark.parametrize("name", CASES)
def test_a_written_graph_does_not_depend_on_the_processor(
    avx2: dict[str, np.ndarray], here: dict[str, np.ndarray], name: str
) -> None:
    assert avx2[f"{name}/written"].tobytes() == here[f"{name}/written"].tobytes()
    # ONNX Runtime writes tensors of its own format in no order, which differs from one run to the next.
    weight = next(numpy_helper.to_array(t) for t in CASES[name]().model.graph.initializer if t.name == "w")
    assert all(weight.tobytes() in results[f"{name}/ort"].tobytes() for results in (avx2, here))
