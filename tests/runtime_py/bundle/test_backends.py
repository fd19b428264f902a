"""Backends: each runs its artifacts, keeps the contract, and says what is missing instead of falling back."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.executorch import ExecutorchBackend
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.backends.onnxruntime import OnnxRuntimeBackend, saturates
from pocketcrafter.runtime.backends.registry import usable_backend, why_unusable
from pocketcrafter.runtime.bundle.split import to_ort_format
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError, ShapeMismatchError
from pocketcrafter.runtime.fidelity import sqnr_db

torch = pytest.importorskip("torch")


class Tiny(torch.nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self, kernel: FloatArray) -> None:
        super().__init__()
        self.kernel = torch.nn.Parameter(torch.from_numpy(kernel), requires_grad=False)

    def forward(self, tile: torch.Tensor, amounts: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(tile, self.kernel, padding=1) + amounts.reshape(1, 3, 1, 1)


@pytest.fixture
def expected(kernel: FloatArray, inputs: dict[str, FloatArray]) -> FloatArray:
    return Tiny(kernel)(*map(torch.from_numpy, inputs.values())).numpy()


@pytest.fixture(scope="module")
def executorch_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    exir = pytest.importorskip("executorch.exir")
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner  # noqa: PLC0415

    kernel = np.random.default_rng(7).normal(0, 0.2, (3, 3, 3, 3)).astype(np.float32)
    example = (torch.rand(1, 3, 16, 16), torch.rand(1, 3))
    program = torch.export.export(Tiny(kernel).eval(), example)
    lowered = exir.to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
    path = tmp_path_factory.mktemp("pte") / "tiny.pte"
    path.write_bytes(lowered.buffer)
    return path


def test_onnxruntime_computes_what_torch_does(
    onnx_model: Path, spec: ComponentSpec, inputs: dict[str, FloatArray], expected: FloatArray
) -> None:
    session = OnnxRuntimeBackend().open(onnx_model, spec, threads=2)
    assert sqnr_db(expected, session.run(inputs)["restored"]) > 100


def test_executorch_computes_what_torch_does(
    executorch_model: Path, spec: ComponentSpec, inputs: dict[str, FloatArray], expected: FloatArray
) -> None:
    session = ExecutorchBackend().open(executorch_model, spec, threads=2)
    first = session.run(inputs)["restored"]
    assert sqnr_db(expected, first) > 100
    kept = first.copy()
    session.run({name: np.zeros_like(array) for name, array in inputs.items()})
    np.testing.assert_array_equal(first, kept)  # an output must not alias memory that the next run overwrites


@pytest.mark.parametrize("fault", ["missing", "unknown", "shape"])
def test_inputs_that_break_the_contract_are_refused(
    onnx_model: Path, spec: ComponentSpec, inputs: dict[str, FloatArray], fault: str
) -> None:
    session = OnnxRuntimeBackend().open(onnx_model, spec, threads=1)
    broken = {
        "missing": {"tile": inputs["tile"]},
        "unknown": inputs | {"more": inputs["tile"]},
        "shape": inputs | {"amounts": np.zeros((1, 4), np.float32)},
    }[fault]
    with pytest.raises(ShapeMismatchError, match="restore"):
        session.run(broken)


STRIDED: dict[str, Callable[[FloatArray], np.ndarray]] = {
    "float64": lambda a: a.astype(np.float64),
    "transposed": np.asfortranarray,
    "backward": lambda a: np.ascontiguousarray(a[..., ::-1])[..., ::-1],
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    # numpy calls it contiguous all the same, as the first axis has one element.
    "stride 0, one element": lambda a: np.broadcast_to(a[0], a.shape),
    "stride 0, three elements": lambda a: np.broadcast_to(a[:, :1], a.shape),
}


@pytest.mark.parametrize("layout", STRIDED)
@pytest.mark.parametrize("name", ["onnxruntime", "executorch"])
def test_any_memory_layout_gives_what_contiguous_float32_gives(
    request: pytest.FixtureRequest, spec: ComponentSpec, inputs: dict[str, FloatArray], name: str, layout: str
) -> None:
    if name == "onnxruntime":
        session = OnnxRuntimeBackend().open(request.getfixturevalue("onnx_model"), spec, threads=1)
    else:
        session = ExecutorchBackend().open(request.getfixturevalue("executorch_model"), spec, threads=1)
    laid_out = {key: STRIDED[layout](array) for key, array in inputs.items()}
    plain = {key: np.array(array, dtype=np.float32, order="C") for key, array in laid_out.items()}
    np.testing.assert_array_equal(session.run(laid_out)["restored"], session.run(plain)["restored"])


@pytest.fixture
def int8_in_ort_format(tmp_path: Path) -> Path:
    """A convolution in integers, of the same contract."""
    onnx, helper = pytest.importorskip("onnx"), pytest.importorskip("onnx.helper")
    ends = [("tile", (1, 3, 16, 16)), ("amounts", (1, 3)), ("restored", (1, 3, 16, 16))]
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in ends]
    constants = {
        "step": np.float32(0.01), "zero": np.uint8(0), "kernel": np.full((3, 3, 1, 1), 127, np.int8),
        "steps": np.full(3, 0.01, np.float32), "zeros": np.zeros(3, np.int8), "shape": np.array([1, 3, 1, 1]),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["tile", "step", "zero"], ["levels"]),
        helper.make_node(
            "QLinearConv", ["levels", "step", "zero", "kernel", "steps", "zeros", "step", "zero"], ["sum"]
        ),
        helper.make_node("DequantizeLinear", ["sum", "step", "zero"], ["floats"]),
        helper.make_node("Reshape", ["amounts", "shape"], ["offsets"]),
        helper.make_node("Add", ["floats", "offsets"], ["restored"]),
    ]
    stored = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "int8", values[:2], values[2:], stored)
    path = tmp_path / "int8.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return to_ort_format(path)


def test_integers_in_ort_format_are_refused_where_they_would_saturate(
    int8_in_ort_format: Path, spec: ComponentSpec, avx2_python: tuple[str, ...]
) -> None:
    """ONNX Runtime no longer optimizes such a model, and so cannot store its weights unsigned."""
    if not saturates():
        OnnxRuntimeBackend().open(int8_in_ort_format, spec, 1)
    program = (
        "import sys; from pathlib import Path\n"
        "from pocketcrafter.runtime.backends.onnxruntime import OnnxRuntimeBackend\n"
        "from pocketcrafter.runtime.components import ComponentSpec\n"
        "OnnxRuntimeBackend().open(Path(sys.argv[1]), ComponentSpec.model_validate_json(sys.argv[2]), 1)\n"
    )
    command = [*avx2_python, "-c", program, int8_in_ort_format, spec.model_dump_json()]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert refused.returncode == 1
    assert "NotExactHereError" in refused.stderr
    assert "Run the .onnx that it was made of" in refused.stderr


def test_a_model_of_another_contract_is_refused_on_opening(onnx_model: Path, spec: ComponentSpec) -> None:
    renamed = spec.model_copy(update={"outputs": (spec.outputs[0].model_copy(update={"name": "other"}),)})
    with pytest.raises(BackendError, match="outputs"):
        OnnxRuntimeBackend().open(onnx_model, renamed, threads=1)


def test_an_executorch_program_of_another_contract_is_refused_on_opening(
    executorch_model: Path, spec: ComponentSpec
) -> None:
    swapped = spec.model_copy(update={"inputs": spec.inputs[::-1]})
    with pytest.raises(BackendError, match="contract"):
        ExecutorchBackend().open(executorch_model, swapped, threads=1)


@pytest.mark.parametrize("content", [b"", b"garbage" * 100])
@pytest.mark.parametrize("backend", [OnnxRuntimeBackend(), ExecutorchBackend()])
def test_garbage_is_an_error_with_its_path(
    tmp_path: Path, spec: ComponentSpec, content: bytes, backend: OnnxRuntimeBackend | ExecutorchBackend
) -> None:
    if backend.missing():
        pytest.skip("not installed")
    path = tmp_path / "garbage.bin"
    path.write_bytes(content)
    with pytest.raises(BackendError, match=r"garbage\.bin"):
        backend.open(path, spec, threads=1)


@pytest.mark.parametrize("location", ["../secret.bin", "{tmp}/secret.bin", "secret.bin"])
def test_weights_outside_the_artifact_folder_are_never_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spec: ComponentSpec,
    kernel: FloatArray,
    external_model: Callable[[str], Path],
    location: str,
) -> None:
    """The last one lies in the working directory, where ONNX Runtime would look by itself."""
    kernel.tofile(tmp_path / "secret.bin")
    monkeypatch.chdir(tmp_path)
    path = external_model(location.format(tmp=tmp_path))
    with pytest.raises(BackendError):
        OnnxRuntimeBackend().open(path, spec, threads=1)


def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    """In a fresh interpreter in which torch and executorch cannot be found."""
    code = (
        "import sys; sys.modules['torch'] = sys.modules['executorch'] = None\n"
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda n, *a: None if n in {'torch', 'executorch'} else find(n, *a)\n"
        "from pocketcrafter.runtime.backends.registry import why_unusable\n"
        "from pocketcrafter.runtime.backends.names import BackendName as B\n"
        "sys.stdout.write('|'.join(str(why_unusable(b)) for b in (B.EXECUTORCH, B.TORCH, B.ONNXRUNTIME)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    executorch, eager, onnxruntime = done.stdout.split("|")
    assert "pip install 'pocketcrafter[build]'" in executorch
    assert "pip install 'pocketcrafter[build]'" in eager
    assert onnxruntime == "None"


def test_listing_backends_and_opening_onnx_imports_no_torch(onnx_model: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "import pocketcrafter.runtime.bundle.verify, pocketcrafter.runtime.cli.bundle\n"
        "from pocketcrafter.runtime.backends.onnxruntime import OnnxRuntimeBackend\n"
        "try: OnnxRuntimeBackend().open(Path(sys.argv[1]), None, 1)\n"
        "except AttributeError: pass\n"
        "sys.exit(any(m in sys.modules for m in ('torch', 'executorch', 'onnx', 'yaml', 'safetensors')))"
    )
    subprocess.run([sys.executable, "-c", code, str(onnx_model)], check=True)  # noqa: S603


def test_onnxruntime_is_always_usable() -> None:
    assert why_unusable(BackendName.ONNXRUNTIME) is None
    assert isinstance(usable_backend(BackendName.ONNXRUNTIME), OnnxRuntimeBackend)


_OPEN = """
import re, sys
from pathlib import Path
from pocketcrafter.runtime.backends.onnxruntime import OnnxRuntimeBackend, saturates
from pocketcrafter.runtime.components import ComponentSpec
def resident():
    return int(re.search(r"RssAnon:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
path, spec = Path(sys.argv[1]), ComponentSpec.model_validate_json(sys.argv[2])
saturates()
before = resident()
session = OnnxRuntimeBackend().open(path, spec, 1)
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
def test_opening_keeps_weights_in_memory_once(tmp_path: Path) -> None:
    """Guards what glibc keeps of freed blocks: without limits of our own twice the weights stay resident."""
    side, count = 1024, 24
    weights = [np.full((side, side), index + 1, np.int8) for index in range(count)]
    stored = [numpy_helper.from_array(weight, f"w{index}") for index, weight in enumerate(weights)]
    stored.append(numpy_helper.from_array(np.ones(side, np.float32), "scale"))
    nodes = [
        helper.make_node("DynamicQuantizeMatMul", [f"x{i}", f"w{i}", "scale"], [f"x{i + 1}"], domain="com.microsoft")
        for i in range(count)
    ]
    ends = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, side]) for name in ("x0", f"x{count}"))
    graph = helper.make_graph(nodes, "graph", [next(ends)], [next(ends)], stored)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "model.onnx")
    tensors = [{"shape": [1, side], "semantics": "Any."} | {"name": name} for name in ("x0", f"x{count}")]
    spec = {"name": "model", "role": "vision", "inputs": tensors[:1], "outputs": tensors[1:]}
    told = [sys.executable, "-c", _OPEN, str(tmp_path / "model.onnx"), json.dumps(spec)]
    done = subprocess.run(told, capture_output=True, text=True, check=True)  # noqa: S603
    assert int(done.stdout) < 1.5 * side * side * count / 1024
